"""Connections to all primaries of a cluster: one searches, and all report the cluster state."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import redis

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.pool import NodeConnection
from fiftyone_redis.connection.protocol import deadline
from fiftyone_redis.connection.protocol.parsing import parses
from fiftyone_redis.connection.protocol.wire import COORDINATOR, get_reply_timeout, pack
from fiftyone_redis.connection.retry import IncompleteClusterError, is_retryable
from fiftyone_redis.connection.topology import ClusterState
from fiftyone_redis.errors import list_first

_STATE_SECONDS = 10.0  # timeout for cluster state; the node may be busy searching
_HANGS_AFTER_SECONDS = 1.0  # without a reply before dead nodes are searched for
_REACH_SECONDS = 1.0

_NODES = pack(["CLUSTER", "NODES"])
_STATE = pack([COORDINATOR]) + _NODES
_SHARDS = pack(["CLUSTER", "SHARDS"])
_SERVER = pack(["INFO", "server"])


class HangingCoordinatorError(IncompleteClusterError):
    """A coordinator does not answer queries, and may be waiting for a dead node."""


class Primaries:
    """A connection to each primary of a cluster; one of them coordinates the query.

    Args:
        nodes: clients of all primaries
        coordinator: the one of them that coordinates the query
        stack: returns the connections to their pools when closed
    """

    def __init__(
        self, nodes: Sequence[redis.Redis], coordinator: redis.Redis, stack: ExitStack
    ) -> None:
        self._client_of_coordinator = coordinator
        self.coordinator = NodeConnection(coordinator, stack)
        self._others = [NodeConnection(node, stack) for node in nodes if node is not coordinator]
        self._all = [self.coordinator, *self._others]

    @property
    def are_broken(self) -> bool:
        """Whether some connections are broken."""
        return any(line.error for line in self._all)

    def send_query(
        self, packed: Sequence[bytes], seconds: float | None, fetch_state_next: bool
    ) -> list[Any]:
        """Sends commands to the coordinator, and reads the replies.

        Args:
            packed: the packed commands
            seconds: the timeout for each reply; None for the command's own
            fetch_state_next: whether :meth:`fetch_state` is called next; its commands for the
                coordinator are then sent along with these

        Raises:
            HangingCoordinatorError: if no reply arrives, and a node is dead
            NoAnswerError: if no reply arrives in time
            redis.RedisError: if the connection is lost
        """
        self.coordinator.send(b"".join([*packed, _STATE if fetch_state_next else b""]))
        replies = []
        for command in packed:
            self._await_reply(seconds or get_reply_timeout(command))
            replies += self.coordinator.read_replies(1)
        return replies

    def fetch_state(self, is_sent: bool = False) -> ClusterState:
        """Fetches the cluster state from all primaries.

        Args:
            is_sent: whether :meth:`send_query` already sent the commands for the coordinator

        Raises:
            redis.RedisError: if a node refuses, and the error is not transient
        """
        if not is_sent:
            self.coordinator.send(_STATE)
        for line in self._others:
            line.send(_NODES)
        searched, nodes = self.coordinator.read_replies(2, _STATE_SECONDS)
        replies = {self.coordinator.address: nodes}
        replies |= {line.address: line.read_replies(1, _STATE_SECONDS)[0] for line in self._others}
        for each in (searched, *replies.values()):
            if isinstance(each, redis.ResponseError) and not is_retryable(each):
                raise each
        return topology.read_state(self.coordinator.address, searched, replies)

    def find_just_started(self, within: float) -> Iterator[str]:
        """Yields a sentence for each primary that started less than some seconds ago.

        Checks new connections only, because a restart closes all older ones.
        """
        fresh = [
            line for line in self._all if not getattr(line.connection, "is_uptime_checked", True)
        ]
        for line in fresh:
            line.send(_SERVER)
        for line in fresh:
            uptime = _read_uptime(line.read_replies(1, _STATE_SECONDS)[0])
            if uptime <= within:
                yield f"{line.address} started {uptime:g} s ago"
            elif line.error is None:
                line.connection.is_uptime_checked = True

    def _await_reply(self, seconds: float | None) -> None:
        """Waits for the coordinator's reply; checks for dead nodes at growing intervals."""
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
                    "back, or take it out of the cluster (CLUSTER FORGET), and try again"
                )
            step *= 2

    def _dead_nodes(self) -> Iterator[str]:
        """Yields a sentence for each dead node that the coordinator may be waiting for.

        A busy node still accepts connections, and does not count as dead.
        """
        for line in self._all:
            if not _accepts_connections(line.address):
                yield f"{line.address} cannot be reached"
        with ExitStack() as stack:
            beside = NodeConnection(self._client_of_coordinator, stack)
            beside.send(_SHARDS)
            shards = beside.read_replies(1, _REACH_SECONDS)[0]
        if not isinstance(shards, redis.RedisError):
            for node in topology.find_failed_first(topology.read_shards(shards)):
                at = node.address
                yield f"{at}, which has failed, is the first of its shard in CLUSTER SHARDS"


@parses("INFO server")
def _read_uptime(reply: Any) -> float:
    """Reads a server's uptime in seconds; infinite if this user may not see it."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    _, _, rest = text.partition("uptime_in_seconds:")
    return float(rest.split()[0]) if rest else float("inf")


def _accepts_connections(address: str) -> bool:
    """Returns whether a server accepts connections, as a busy one does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except OSError:
        return False
    return True
