"""Complete answers from a cluster, or an error.

The coordinator of a cluster's query engine silently leaves out nodes that it cannot reach. So an
answer is accepted only if the cluster state (``topology.py``) was complete, and the same, before
and after the query. Otherwise the query is retried under the client's retry policy, and then fails
with an error that names what is missing.

The state after one answer serves as the state before the next, so each answer needs one state:
two more commands to the coordinator, sent along with the query, and one to each other primary. All
connections are opened before the query is sent, and the state is fetched over the same ones: if a
primary restarts in between, its connection breaks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import redis

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.clients.base_client import BaseClient, Replies
from fiftyone_redis.connection.cluster.primaries import HangingCoordinatorError, Primaries
from fiftyone_redis.connection.pool import try_command
from fiftyone_redis.connection.protocol.wire import (
    COORDINATOR,
    Request,
    changes_index,
    pack,
    read_name,
)
from fiftyone_redis.connection.retry import (
    IncompleteClusterError,
    is_connection_lost,
    is_retryable,
)
from fiftyone_redis.connection.topology import Answer, ClusterState
from fiftyone_redis.errors import list_first

SETTLE_SECONDS = 2.0
"""Seconds until a coordinator has reconnected to a node that came back or joined."""

_AVOID_SECONDS = 60.0  # how long a hung coordinator is avoided
_AT_ONCE = 8  # commands in one batch


@dataclass
class Known:
    """What is known about one client's cluster.

    Args:
        has_coordinator: whether its query engine searches all nodes; None if not known yet
        states: the last state seen by each coordinator, by address, if it was complete
        changed_at: when a node was last missing or replaced
        hung: the address of the coordinator that hung last
        hung_at: when that was
    """

    has_coordinator: bool | None = None
    states: dict[str, ClusterState] = field(default_factory=dict)
    changed_at: float = float("-inf")
    hung: str = ""
    hung_at: float = float("-inf")

    def note_change(self, state: ClusterState, before: ClusterState | None = None) -> None:
        """Records the time if a node is missing, or the nodes have changed."""
        if state.lost or (before is not None and state.nodes() != before.nodes()):
            self.changed_at = time.monotonic()


class SearchedCluster(BaseClient):
    """The part of a cluster's client that searches."""

    known: Known
    """What is known about the cluster."""

    def needs_checks(self) -> bool:
        """Returns whether the query engine searches all nodes; fetches that once.

        Raises:
            redis.RedisError: if no node answers
        """
        if self.known.has_coordinator is None:
            self.known.has_coordinator = _fetch_has_coordinator(self)
        return self.known.has_coordinator

    def fetch_state(self) -> ClusterState | None:
        """Fetches the cluster state; returns None if answers need no checks."""
        if not self.needs_checks():
            return None
        with ExitStack() as stack:
            return Primaries(self.list_primaries(), self.pick_node(), stack).fetch_state()

    def pick_coordinator(self, failures: int) -> Any:
        """Picks a node as :meth:`pick_node` does, but avoids one that hung lately."""
        node, known = self.pick_node(failures), self.known
        is_avoided = time.monotonic() - known.hung_at <= _AVOID_SECONDS
        return self.pick_node(failures + 1) if is_avoided and node.address == known.hung else node

    def send_checked(
        self,
        node: Any,
        packed: Sequence[bytes],
        before: ClusterState | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Sends search commands to one node, as :meth:`BaseClient.send_checked` explains.

        Raises:
            IncompleteClusterError: if the cluster is not complete, or changed during the query
            NoAnswerError: if the node does not answer in time
            redis.RedisError: if the commands cannot be sent
        """
        if not self.needs_checks():
            return super().send_checked(node, packed, before, seconds)
        known, is_change = self.known, changes_index(read_name(packed[0]))
        with ExitStack() as stack:
            primaries = Primaries(self.list_primaries(), node, stack)
            at = primaries.coordinator.address
            start = primaries.fetch_state() if is_change or primaries.are_broken else before
            start = start or known.states.get(at) or primaries.fetch_state()
            problem = _find_problem_before(known, primaries, start, is_change)
            if problem is None:
                try:
                    replies = primaries.send_query(packed, seconds, fetch_state_next=not is_change)
                except HangingCoordinatorError:
                    known.hung, known.hung_at = at, time.monotonic()
                    raise
                end = start if is_change else primaries.fetch_state(is_sent=True)
                problem = _find_problem_after(known, at, start, end)
        if problem is not None:
            raise problem
        return Answer(replies, end)

    def _search(self, failures: int, command: Sequence[Any]) -> Any:
        """Sends one search command, and returns its complete answer."""
        [found], _ = self.send_checked(self.pick_coordinator(failures), [pack(command)])
        if isinstance(found, redis.RedisError):
            raise found
        return found

    def _exchange_searches(self, requests: Iterable[Request]) -> Replies:
        """Sends packed search commands in batches; see :meth:`exchange`."""
        waiting: list[Request] = []
        for request in requests:
            waiting.append(request)
            if sum(len(each.items) for each in waiting) >= _AT_ONCE:
                yield from self._replies_to(waiting)
                waiting = []
        yield from self._replies_to(waiting)

    def _replies_to(self, requests: Sequence[Request]) -> Replies:
        commands = [b"".join(parts) for request in requests for parts in request.commands]
        replies: list[Any] = []
        for start in range(0, len(commands), _AT_ONCE):
            replies += self._send_until_complete(commands[start : start + _AT_ONCE])
        for _, items, _ in requests:
            yield items, replies[: len(items)]
            replies = replies[len(items) :]

    def _send_until_complete(self, commands: Sequence[bytes]) -> list[Any]:
        """Sends commands until each has a complete answer, or an error that is not transient."""
        replies: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        for attempt in self.retrying():
            with attempt:
                node = self.pick_coordinator(attempt.failures)
                found, _ = self.send_checked(node, [commands[number] for number in left])
                for number, each in zip(left, found, strict=True):
                    replies[number] = each
                left = [number for number in left if is_retryable(replies[number])]
                if left:
                    raise replies[left[0]]
        return replies


def _find_problem_before(
    known: Known, primaries: Primaries, state: ClusterState, is_change: bool
) -> IncompleteClusterError | None:
    """Returns why a query would be incomplete, or None."""
    known.note_change(state)
    young = [] if state.lost else list(primaries.find_just_started(SETTLE_SECONDS))
    if state.lost or (state.moving and not is_change) or young:
        known.states.pop(primaries.coordinator.address, None)
        if young:
            return _make_error(list_first(young), "try again")
        return _make_incomplete_error(state.lost, state.moving)
    if time.monotonic() - known.changed_at < SETTLE_SECONDS:
        return _make_error("a node has just come back or been replaced", "try again")
    return None


def _find_problem_after(
    known: Known, coordinator: str, before: ClusterState, after: ClusterState
) -> IncompleteClusterError | None:
    """Returns why an answer may be incomplete, or None; caches the new state."""
    if before == after and not after.lost:
        if after.is_complete:
            known.states[coordinator] = after
        return None
    known.note_change(after, before)
    known.states.pop(coordinator, None)
    if after.is_complete:
        return _make_error("its nodes changed during the query", "try again")
    return _make_incomplete_error(after.lost, after.moving)


def _make_incomplete_error(lost: Sequence[str], moving: Sequence[str]) -> IncompleteClusterError:
    """Returns the error that names the missing shards or the moving slots."""
    todo = "restart it, or let a replica take over, and try again"
    if not lost:
        todo = (
            "try again when they have moved; `redis-cli --cluster fix` ends a move that was "
            "interrupted"
        )
    return _make_error(list_first(list(lost or moving)), todo)


def _make_error(why: str, todo: str) -> IncompleteClusterError:
    return IncompleteClusterError(
        f"The cluster cannot answer from all of its documents: {why}; {todo}"
    )


def _fetch_has_coordinator(client: BaseClient) -> bool:
    """Fetches from the first node that answers whether its query engine coordinates."""
    count = len(client.list_primaries())
    for failures in range(count):
        node = client.pick_node(failures)
        try:
            return node.fetch_capabilities().coordinator and not _is_managed(node)
        except redis.RedisError as error:
            if failures == count - 1 or not is_connection_lost(error):
                raise
    return False


def _is_managed(node: redis.Redis) -> bool:
    """Returns whether a service manages the nodes, as Redis Enterprise does.

    Its coordinators list other nodes than CLUSTER NODES does.
    """
    reply = try_command(node, pack([COORDINATOR]))
    return not isinstance(reply, redis.RedisError) and topology.is_managed(reply)
