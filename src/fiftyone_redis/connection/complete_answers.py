"""Has a cluster answer from all of its documents, or not at all.

The coordinator of a Redis Cluster's query engine answers from those nodes that it reaches, and
says nothing of the others. So an answer is trusted only if the cluster was complete, and the same,
before and after it, as ``topology.py`` tells; else the question is asked again, as long as the
client's rules for trying again allow, and then it is an error that names what is missing.

What was seen after one answer is what was before the next, so that an answer costs one look: two
commands more to the coordinator, right behind the question, and one to each other primary. All
connections are there before the question is sent, and the look goes over the same ones: a primary
that ends in between breaks its connection, even if it is back by then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis

from fiftyone_redis.connection import capabilities, cluster, topology
from fiftyone_redis.connection.cluster import Client, IncompleteClusterError
from fiftyone_redis.connection.pool import read_address
from fiftyone_redis.connection.pool import send_command as ask_node
from fiftyone_redis.connection.primaries import HangingCoordinatorError, Primaries
from fiftyone_redis.connection.retry import Attempts, is_connection_lost
from fiftyone_redis.connection.topology import ClusterState
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.wire import COORDINATOR, Request, changes_index, pack, read_name
from fiftyone_redis.errors import list_first

SETTLE_SECONDS = 2.0
"""Seconds after which a coordinator has found a node again that was gone, or is new to it."""

_AVOID_SECONDS = 60.0  # how long a coordinator that hung is not asked
_AT_ONCE = 8  # commands that are sent together


class Answer(NamedTuple):
    """Replies, errors among them, and how the cluster was; None if it has no coordinator."""

    replies: list[Any]
    state: ClusterState | None


@dataclass
class _Known:
    """What is known of one client's cluster.

    Args:
        has_coordinator: whether its query engine answers for all nodes; None if not known yet
        views: how it was last seen from each coordinator, by its address, if it was complete
        changed_at: when a part was last seen to be missing, or to be another one
        hung: the address of the coordinator that was last seen to hang
        hung_at: when that was
    """

    has_coordinator: bool | None = None
    views: dict[str, ClusterState] = field(default_factory=dict)
    changed_at: float = float("-inf")
    hung: str = ""
    hung_at: float = float("-inf")

    def note_change(self, view: ClusterState, before: ClusterState | None = None) -> None:
        """Notes the time if a part is missing, or if there are other nodes than before."""
        if view.lost or (before is not None and view.nodes() != before.nodes()):
            self.changed_at = time.monotonic()


_known_clusters: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def needs_checks(client: Client) -> bool:
    """Returns whether a client's server is a cluster with a coordinator, whose answers need care.

    Raises:
        redis.RedisError: if it has to be asked, and no node answers
    """
    if not isinstance(client, redis.RedisCluster):
        return False
    known = _get_known(client)
    if known.has_coordinator is None:
        known.has_coordinator = _has_coordinator(client)
    return known.has_coordinator


def fetch_state(client: Client) -> ClusterState | None:
    """Looks once at a cluster; returns None for one whose answers need no care.

    Raises:
        redis.RedisError: if no node answers, or this user may not ask
    """
    if not isinstance(client, redis.RedisCluster) or not needs_checks(client):
        return None
    with ExitStack() as stack:
        return Primaries(client, cluster.pick_node(client, 0), stack).fetch_state()


def pick_coordinator(client: Client, failures: int) -> redis.Redis:
    """Returns a client of the node to ask, as :func:`cluster.node` does; not one that hangs."""
    node = cluster.pick_node(client, failures)
    known = _get_known(client)
    is_avoided = time.monotonic() - known.hung_at <= _AVOID_SECONDS
    if is_avoided and read_address(node.connection_pool.connection_kwargs) == known.hung:
        return cluster.pick_node(client, failures + 1)
    return node


def send_checked(
    client: Client,
    node: redis.Redis,
    packed: Sequence[bytes],
    before: ClusterState | None = None,
    seconds: float | None = None,
) -> Answer:
    """Sends commands of the query engine to one node, and returns replies that are whole.

    Args:
        client: a client of a cluster, or of one server
        node: a client of the node; for one server, its own
        packed: the commands
        before: how the cluster has to be; None for as it was at the last answer
        seconds: how long to wait for each reply; None for as long as the command itself says

    Raises:
        IncompleteClusterError: if the cluster is not complete, or changed meanwhile
        NoAnswerError: if the node does not answer in time
        redis.RedisError: if it cannot be asked
    """
    if not isinstance(client, redis.RedisCluster) or not needs_checks(client):
        return Answer([_send_one(node, each, seconds) for each in packed], None)
    known = _get_known(client)
    is_change = changes_index(read_name(packed[0]))
    with ExitStack() as stack:
        primaries = Primaries(client, node, stack)
        at = primaries.coordinator.address
        start = primaries.fetch_state() if is_change or primaries.are_broken else before
        start = start or known.views.get(at) or primaries.fetch_state()
        problem = _find_problem_before(known, primaries, start, is_change)
        if problem is None:
            try:
                replies = primaries.send_query(packed, seconds, then_look=not is_change)
            except HangingCoordinatorError:
                known.hung, known.hung_at = at, time.monotonic()
                raise
            end = start if is_change else primaries.fetch_state(is_sent=True)
            problem = _find_problem_after(known, at, start, end)
    if problem is not None:
        raise problem
    return Answer(replies, end)


def send_command(client: redis.RedisCluster, command: Sequence[Any], failures: int) -> Any:
    """Sends one command of the query engine, and returns its whole reply.

    Raises:
        redis.RedisError: whatever goes wrong
    """
    found = send_checked(client, pick_coordinator(client, failures), [pack(command)]).replies[0]
    if isinstance(found, redis.RedisError):
        raise found
    return found


def exchange(
    client: redis.RedisCluster, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends packed commands of the query engine, some at once; see ``pipeline.exchange``."""
    waiting: list[Request] = []
    for request in requests:
        waiting.append(request)
        if sum(len(each.items) for each in waiting) >= _AT_ONCE:
            yield from _replies_to(client, waiting)
            waiting = []
    yield from _replies_to(client, waiting)


def _replies_to(
    client: redis.RedisCluster, requests: Sequence[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    commands = [b"".join(parts) for request in requests for parts in request.commands]
    replies: list[Any] = []
    for start in range(0, len(commands), _AT_ONCE):
        replies += _send_until_complete(client, commands[start : start + _AT_ONCE])
    for _, items, _ in requests:
        yield items, replies[: len(items)]
        replies = replies[len(items) :]


def _send_until_complete(client: redis.RedisCluster, commands: Sequence[bytes]) -> list[Any]:
    """Sends commands until each has a reply that is whole, or an error that stays."""
    replies: list[Any] = [None] * len(commands)
    left = list(range(len(commands)))
    attempts = Attempts(client)
    with translate_errors(cluster.get_address(client)):
        while left:
            try:
                node = pick_coordinator(client, attempts.failures)
                found = send_checked(client, node, [commands[number] for number in left]).replies
            except redis.RedisError as error:
                cluster.wait_and_recover(client, attempts, error)
                continue
            for number, each in zip(left, found, strict=True):
                replies[number] = each
            left = [number for number in left if cluster.is_retryable(replies[number])]
            if left:
                cluster.wait_and_recover(client, attempts, replies[left[0]])
    return replies


def _find_problem_before(
    known: _Known, primaries: Primaries, view: ClusterState, is_change: bool
) -> IncompleteClusterError | None:
    """Returns why a question is not worth sending, or None."""
    known.note_change(view)
    young = [] if view.lost else list(primaries.find_just_started(SETTLE_SECONDS))
    if view.lost or (view.moving and not is_change) or young:
        known.views.pop(primaries.coordinator.address, None)
        return _make_incomplete_error([*view.lost, *young], view.moving)
    if time.monotonic() - known.changed_at < SETTLE_SECONDS:
        return _make_incomplete_error(["a part of it came back, or was replaced, this moment"], ())
    return None


def _find_problem_after(
    known: _Known, coordinator: str, before: ClusterState, after: ClusterState
) -> IncompleteClusterError | None:
    """Returns why an answer is not to be trusted, or None; remembers how the cluster is now."""
    if before == after and not after.lost:
        if after.is_complete:
            known.views[coordinator] = after
        return None
    known.note_change(after, before)
    known.views.pop(coordinator, None)
    if after.is_complete:
        return _make_incomplete_error(["it changed while it was asked"], ())
    return _make_incomplete_error(after.lost, after.moving)


def _make_incomplete_error(lost: Sequence[str], moving: Sequence[str]) -> IncompleteClusterError:
    """Returns the error that names what is missing, or else the slots on the move."""
    todo = "bring it back, or have a replica take over, and repeat this"
    if not lost:
        todo = (
            "repeat this when they have moved; `redis-cli --cluster fix` ends a move that was "
            "interrupted"
        )
    return IncompleteClusterError(
        f"The cluster cannot answer from all of its documents: {list_first(list(lost or moving))}; {todo}"
    )


def _has_coordinator(client: redis.RedisCluster) -> bool:
    """Asks one node after the other, until one answers, whether its query engine coordinates."""
    nodes = cluster.list_primaries(client)
    for number, _ in enumerate(nodes, start=1):
        node = cluster.pick_node(client, number - 1)
        try:
            return capabilities.fetch_untranslated(node).coordinator and not _is_managed(node)
        except redis.RedisError as error:
            if number == len(nodes) or not is_connection_lost(error):
                raise
    return False


def _is_managed(node: redis.Redis) -> bool:
    """Returns whether a service manages the nodes, as Redis Enterprise does.

    It tells the coordinators of nodes that are not those of CLUSTER NODES.
    """
    reply = _send_one(node, pack([COORDINATOR]), None)
    return not isinstance(reply, redis.RedisError) and topology.is_managed(reply)


def _get_known(client: Client) -> _Known:
    return _known_clusters.setdefault(client, _Known())


def _send_one(node: redis.Redis, packed: bytes, seconds: float | None) -> Any:
    try:
        return ask_node(node, packed, seconds)
    except redis.ResponseError as error:
        return error
