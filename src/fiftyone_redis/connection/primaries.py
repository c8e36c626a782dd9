"""Connections to all primaries of a cluster: one is asked to search, and all tell how they are."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import redis

from fiftyone_redis.connection import cluster, deadline, topology
from fiftyone_redis.connection.cluster import IncompleteClusterError
from fiftyone_redis.connection.node_connection import NodeConnection
from fiftyone_redis.connection.topology import ClusterState
from fiftyone_redis.connection.wire import COORDINATOR, pack
from fiftyone_redis.errors import list_first

_STATE_SECONDS = 10.0  # to wait for what a node says of the cluster; it may be busy searching
_HANGS_AFTER_SECONDS = 1.0  # without a reply, from which on it is asked whether all nodes live
_REACH_SECONDS = 1.0

_NODES = pack(["CLUSTER", "NODES"])
_STATE = pack([COORDINATOR]) + _NODES
_SHARDS = pack(["CLUSTER", "SHARDS"])
_SERVER = pack(["INFO", "server"])


class HangingCoordinatorError(IncompleteClusterError):
    """A coordinator does not answer queries, and a node that it may wait for is dead."""


class Primaries:
    """A connection to each primary of a cluster, of which one is the coordinator of a query.

    Args:
        client: a client of the cluster
        coordinator: a client of the primary that is to search
        stack: gives the connections back when it is closed
    """

    def __init__(
        self, client: redis.RedisCluster, coordinator: redis.Redis, stack: ExitStack
    ) -> None:
        self._client_of_coordinator = coordinator
        self.coordinator = NodeConnection(coordinator, stack)
        others = [node for node in cluster.list_primaries(client) if node is not coordinator]
        self._others = [NodeConnection(node, stack) for node in others]
        self._all = [self.coordinator, *self._others]

    @property
    def are_broken(self) -> bool:
        """Whether some connections cannot be used."""
        return any(line.error for line in self._all)

    def send_query(
        self, packed: Sequence[bytes], seconds: float | None, then_look: bool
    ) -> list[Any]:
        """Sends commands to the coordinator, and reads the replies.

        Args:
            packed: the commands
            seconds: how long to wait for each; None for as long as the command itself says
            then_look: whether :meth:`look` comes next; what it asks of the coordinator is then sent
                right behind the commands

        Raises:
            HangingCoordinatorError: if no reply comes, and a node is dead
            NoAnswerError: if no reply comes in time
            redis.RedisError: if the connection is lost
        """
        self.coordinator.send(b"".join([*packed, _STATE if then_look else b""]))
        replies = []
        for command in packed:
            self._await_reply(seconds or deadline.get_reply_timeout(command))
            replies += self.coordinator.read_replies(1)
        return replies

    def fetch_state(self, is_sent: bool = False) -> ClusterState:
        """Asks all primaries how the cluster is.

        Args:
            is_sent: whether the coordinator was sent its part of the question by :meth:`ask`

        Raises:
            redis.RedisError: if a node refuses to tell, which is no state that passes
        """
        if not is_sent:
            self.coordinator.send(_STATE)
        for line in self._others:
            line.send(_NODES)
        searched, nodes = self.coordinator.read_replies(2, _STATE_SECONDS)
        told = {self.coordinator.address: nodes}
        told |= {line.address: line.read_replies(1, _STATE_SECONDS)[0] for line in self._others}
        for each in (searched, *told.values()):
            if isinstance(each, redis.ResponseError) and not cluster.is_retryable(each):
                raise each
        return topology.read_state(self.coordinator.address, searched, told)

    def find_just_started(self, within: float) -> Iterator[str]:
        """Yields sentences about primaries that started less than some seconds ago.

        Only those are asked whose connections were just made, since a restart ends connections.
        """
        fresh = [line for line in self._all if not getattr(line.connection, "is_known", True)]
        for line in fresh:
            line.send(_SERVER)
        for line in fresh:
            uptime = _read_uptime(line.read_replies(1, _STATE_SECONDS)[0])
            if uptime <= within:
                yield f"{line.address} started {uptime:g} s ago"
            elif line.error is None:
                line.connection.is_known = True

    def _await_reply(self, seconds: float | None) -> None:
        """Waits for the coordinator's reply; looks now and then whether all nodes live."""
        at, connection = self.coordinator.address, self.coordinator.connection
        if self.coordinator.error is not None:
            raise self.coordinator.error
        is_its_own = seconds is None or deadline.has_shorter_timeout(connection, seconds)
        if is_its_own:
            seconds = connection.socket_timeout
        seconds = float("inf") if seconds is None else seconds
        ends, step = time.monotonic() + seconds, _HANGS_AFTER_SECONDS
        while not connection.can_read(timeout=max(0.0, min(step, ends - time.monotonic()))):
            if time.monotonic() >= ends and is_its_own:
                raise redis.TimeoutError(f"Timeout reading from {at}")
            if time.monotonic() >= ends:
                raise deadline.make_no_answer_error(connection, seconds)
            dead = list(self._dead_nodes())
            if dead:
                raise HangingCoordinatorError(
                    f"Redis at {at} does not answer queries, and {list_first(dead)}; bring that "
                    "back, or take it out of the cluster (CLUSTER FORGET), and repeat this"
                )
            step *= 2

    def _dead_nodes(self) -> Iterator[str]:
        """Yields sentences about dead nodes that the coordinator may be waiting for.

        One that is busy, searching for instance, takes connections and is not dead.
        """
        for line in self._all:
            if not _takes_connections(line.address):
                yield f"{line.address} cannot be reached"
        with ExitStack() as stack:
            beside = NodeConnection(self._client_of_coordinator, stack)
            beside.send(_SHARDS)
            shards = beside.read_replies(1, _REACH_SECONDS)[0]
        if not isinstance(shards, redis.RedisError):
            for node in topology.find_failed_first(topology.read_shards(shards)):
                at = node.address
                yield f"{at}, which has failed, is the first of its shard in CLUSTER SHARDS"


def _read_uptime(reply: Any) -> float:
    """Reads a server's uptime, in seconds; infinite if it does not tell this user."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    _, _, rest = text.partition("uptime_in_seconds:")
    return float(rest.split()[0]) if rest else float("inf")


def _takes_connections(address: str) -> bool:
    """Returns whether a server takes connections; one that is busy does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except OSError:
        return False
    return True
