"""Has a cluster answer from all of its documents, or not at all.

The coordinator of a Redis Cluster's query engine answers from those nodes that it reaches, and
says nothing of the others. So an answer is trusted only if the cluster was complete, and the same,
before and after it, as ``cluster_view.py`` tells; else the question is asked again, as long as the
client's rules for trying again allow, and then it is an error that names what is missing.

What was seen after one answer is what was before the next, so that an answer costs one look: two
commands more to the coordinator, right behind the question, and one to each other primary. All
connections are there before the question is sent, and the look goes over the same ones: a primary
that ends in between breaks its connection, even if it is back by then.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import redis

from fiftyone_redis.engine import capabilities, cluster, cluster_view, deadline
from fiftyone_redis.engine.cluster import Client, IncompleteClusterError
from fiftyone_redis.engine.cluster_view import View
from fiftyone_redis.engine.errors import some
from fiftyone_redis.engine.line import Line
from fiftyone_redis.engine.pool import ask as ask_node
from fiftyone_redis.engine.pool import place
from fiftyone_redis.engine.protocol import COORDINATOR, Request, changes_index, first_word, pack
from fiftyone_redis.engine.retry import Attempts, is_lost
from fiftyone_redis.engine.translation import mapped

SETTLE_SECONDS = 2.0
"""Seconds after which a coordinator has found a node again that was gone, or is new to it."""

_LOOK_SECONDS = 10.0  # to wait for what a node says of the cluster; it may be busy searching
_HANGS_AFTER = 1.0  # seconds without a reply, from which on it is asked whether all nodes live
_REACH_SECONDS = 1.0
_AVOID_SECONDS = 60.0
_AT_ONCE = 8

_NODES = pack(["CLUSTER", "NODES"])
_LOOK = pack([COORDINATOR]) + _NODES
_SHARDS = pack(["CLUSTER", "SHARDS"])
_UPTIME = pack(["INFO", "server"])


class Answer(NamedTuple):
    """Replies, errors among them, and how the cluster was; None if it has no coordinator."""

    replies: list[Any]
    view: View | None


@dataclass
class _Memory:
    """What is known of one client's cluster.

    Args:
        coordinates: whether its query engine answers for all nodes; None if not known yet
        views: how it was last seen from each coordinator, if it was complete
        unsettled: when a part was last seen to be missing, or to be another one
        hanging: the coordinator that was last seen to hang, and when
    """

    coordinates: bool | None = None
    views: dict[str, View] = field(default_factory=dict)
    unsettled: float = float("-inf")
    hanging: tuple[str, float] = ("", float("-inf"))

    def note(self, view: View, before: View | None = None) -> None:
        """Notes that a part is missing, or that there are other nodes than before."""
        if view.lost or (before is not None and view.nodes() != before.nodes()):
            self.unsettled = time.monotonic()


_memories: WeakKeyDictionary[Any, _Memory] = WeakKeyDictionary()


def is_checked(client: Client) -> bool:
    """Returns whether a client's server is a cluster with a coordinator, whose answers need care.

    Raises:
        redis.RedisError: if it has to be asked, and no node answers
    """
    if not isinstance(client, redis.RedisCluster):
        return False
    memory = _memories.setdefault(client, _Memory())
    if memory.coordinates is None:
        memory.coordinates = _coordinates(client)
    return memory.coordinates


def coordinator(client: Client, failures: int) -> redis.Redis:
    """Returns a client of the node to ask, as :func:`cluster.node` does; not one that hangs."""
    node = cluster.node(client, failures)
    hanging, since = _memory(client).hanging
    if place(node.connection_pool.connection_kwargs) != hanging:
        return node
    return node if time.monotonic() - since > _AVOID_SECONDS else cluster.node(client, failures + 1)


def ask(
    client: Client,
    node: redis.Redis,
    packed: Sequence[bytes],
    before: View | None = None,
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
    if not isinstance(client, redis.RedisCluster) or not is_checked(client):
        return Answer([_reply(node, each, seconds) for each in packed], None)
    memory = _memory(client)
    is_change = changes_index(first_word(packed[0]))
    with ExitStack() as stack:
        lines = _Lines(client, node, stack)
        start = lines.view() if is_change or lines.are_broken else before
        start = start or memory.views.get(lines.asked.place) or lines.view()
        problem = _problem(memory, lines, start, is_change)
        if problem is None:
            replies = lines.ask(packed, b"" if is_change else _LOOK, seconds)
            after = start if is_change else lines.view(is_sent=True)
            problem = _difference(memory, lines.asked.place, start, after)
    if problem is not None:
        raise problem
    return Answer(replies, after)


def reply(client: redis.RedisCluster, command: Sequence[Any], failures: int) -> Any:
    """Sends one command of the query engine, and returns its whole reply.

    Raises:
        redis.RedisError: whatever goes wrong
    """
    found = ask(client, coordinator(client, failures), [pack(command)]).replies[0]
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
            yield from _answered(client, waiting)
            waiting = []
    yield from _answered(client, waiting)


def _answered(
    client: redis.RedisCluster, requests: Sequence[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    commands = [b"".join(parts) for request in requests for parts in request.commands]
    replies: list[Any] = []
    for start in range(0, len(commands), _AT_ONCE):
        replies += _settled(client, commands[start : start + _AT_ONCE])
    for _, items, _ in requests:
        yield items, replies[: len(items)]
        replies = replies[len(items) :]


def _settled(client: redis.RedisCluster, commands: Sequence[bytes]) -> list[Any]:
    """Sends commands until each has a reply that is whole, or an error that stays."""
    replies: list[Any] = [None] * len(commands)
    left = list(range(len(commands)))
    attempts = Attempts(client)
    with mapped(cluster.address(client)):
        while left:
            try:
                node = coordinator(client, attempts.failures)
                found = ask(client, node, [commands[number] for number in left]).replies
            except redis.RedisError as error:
                cluster.recover(client, attempts, error)
                continue
            for number, each in zip(left, found, strict=True):
                replies[number] = each
            left = [number for number in left if cluster.is_retried(replies[number])]
            if left:
                cluster.recover(client, attempts, replies[left[0]])
    return replies


class _Lines:
    """A connection to each primary, for one question."""

    def __init__(self, client: redis.RedisCluster, node: redis.Redis, stack: ExitStack) -> None:
        self._memory = _memory(client)
        self._node = node
        self.asked = Line(node, stack)
        self._others = [Line(each, stack) for each in cluster.primaries(client) if each is not node]
        self._all = [self.asked, *self._others]

    @property
    def are_broken(self) -> bool:
        """Whether some cannot be used."""
        return any(line.error for line in self._all)

    def ask(self, packed: Sequence[bytes], behind: bytes, seconds: float | None) -> list[Any]:
        """Sends commands, and others behind them, and reads the replies to the former."""
        self.asked.send(b"".join([*packed, behind]))
        replies = []
        for command in packed:
            self._await(seconds or deadline.limit(command))
            replies += self.asked.replies(1)
        return replies

    def view(self, is_sent: bool = False) -> View:
        """Looks at the cluster.

        Args:
            is_sent: whether the coordinator has been sent what it is asked for that

        Raises:
            redis.RedisError: if the coordinator refuses to tell, which is no state that passes
        """
        if not is_sent:
            self.asked.send(_LOOK)
        for line in self._others:
            line.send(_NODES)
        searched, nodes = self.asked.replies(2, _LOOK_SECONDS)
        told = {self.asked.place: nodes}
        told |= {line.place: line.replies(1, _LOOK_SECONDS)[0] for line in self._others}
        for each in (searched, *told.values()):
            if isinstance(each, redis.ResponseError) and not cluster.is_retried(each):
                raise each
        return cluster_view.read(self.asked.place, searched, told)

    def restarted(self) -> Iterator[str]:
        """Yields sentences about primaries that started this moment.

        That can only be with a connection that was just made. The coordinator may not have found
        such a node again, and leaves it out until then.
        """
        fresh = [line for line in self._all if not getattr(line.connection, "is_known", True)]
        for line in fresh:
            line.send(_UPTIME)
        for line in fresh:
            uptime = _uptime(line.replies(1, _LOOK_SECONDS)[0])
            if uptime <= SETTLE_SECONDS:
                yield f"{line.place} started {uptime:g} s ago"
            elif line.error is None:
                line.connection.is_known = True

    def _await(self, seconds: float | None) -> None:
        """Waits for the coordinator's reply, while all primaries live."""
        connection = self.asked.connection
        if self.asked.error is not None:
            raise self.asked.error
        is_its_own = seconds is None or deadline.is_shorter(connection, seconds)
        if is_its_own:
            seconds = connection.socket_timeout
        seconds = float("inf") if seconds is None else seconds
        ends, step = time.monotonic() + seconds, _HANGS_AFTER
        while not connection.can_read(timeout=max(0.0, min(step, ends - time.monotonic()))):
            if time.monotonic() >= ends and is_its_own:
                raise redis.TimeoutError(f"Timeout reading from {self.asked.place}")
            if time.monotonic() >= ends:
                raise deadline.no_answer(connection, seconds)
            dead = list(self._dead())
            if dead:
                self._memory.hanging = (self.asked.place, time.monotonic())
                raise IncompleteClusterError(
                    f"Redis at {self.asked.place} does not answer queries, and {some(dead)}; "
                    "bring that back, or take it out of the cluster (CLUSTER FORGET), and repeat "
                    "this"
                )
            step *= 2

    def _dead(self) -> Iterator[str]:
        """Yields sentences about dead nodes that the coordinator may be waiting for.

        One that is busy, searching for instance, takes connections and is not dead.
        """
        for line in self._all:
            if not _is_reached(line.place):
                yield f"{line.place} cannot be reached"
        with ExitStack() as stack:
            beside = Line(self._node, stack)
            beside.send(_SHARDS)
            shards = beside.replies(1, _REACH_SECONDS)[0]
        if not isinstance(shards, redis.RedisError):
            for each in cluster_view.dead_ahead(shards):
                yield f"{each}, which has failed, is the first of its shard in CLUSTER SHARDS"


def _problem(
    memory: _Memory, lines: _Lines, view: View, is_change: bool
) -> IncompleteClusterError | None:
    """Returns why a question is not worth sending, or None."""
    memory.note(view)
    waiting = [] if view.lost else list(lines.restarted())
    if view.lost or (view.moving and not is_change) or waiting:
        memory.views.pop(lines.asked.place, None)
        return _incomplete([*view.lost, *waiting], view.moving)
    if time.monotonic() - memory.unsettled < SETTLE_SECONDS:
        return _incomplete(["a part of it came back, or was replaced, this moment"], ())
    return None


def _difference(
    memory: _Memory, place: str, before: View, after: View
) -> IncompleteClusterError | None:
    """Returns why an answer is not to be trusted, or None; remembers how the cluster is now."""
    if before == after and not after.lost:
        if after.is_complete:
            memory.views[place] = after
        return None
    memory.note(after, before)
    memory.views.pop(place, None)
    if after.is_complete:
        return _incomplete(["it changed while it was asked"], ())
    return _incomplete(after.lost, after.moving)


def _incomplete(lost: Sequence[str], moving: Sequence[str]) -> IncompleteClusterError:
    """Returns the error that names what is missing, or else the slots on the move."""
    todo = "bring it back, or have a replica take over, and repeat this"
    if not lost:
        todo = (
            "repeat this when they have moved; `redis-cli --cluster fix` ends a move that was "
            "interrupted"
        )
    return IncompleteClusterError(
        f"The cluster cannot answer from all of its documents: {some(list(lost or moving))}; {todo}"
    )


def _coordinates(client: redis.RedisCluster) -> bool:
    """Asks one node after the other, until one answers, whether its query engine coordinates."""
    nodes = cluster.primaries(client)
    for number, _ in enumerate(nodes, start=1):
        node = cluster.node(client, number - 1)
        try:
            return capabilities.learn(node).coordinator and not _is_managed(node)
        except redis.RedisError as error:
            if number == len(nodes) or not is_lost(error):
                raise
    return False


def _is_managed(node: redis.Redis) -> bool:
    """Returns whether a service manages the nodes, as Redis Enterprise does.

    It tells the coordinators of nodes that are not those of CLUSTER NODES.
    """
    reply = _reply(node, pack([COORDINATOR]), None)
    return not isinstance(reply, redis.RedisError) and cluster_view.is_managed(reply)


def _memory(client: Client) -> _Memory:
    return _memories.setdefault(client, _Memory())


def _reply(node: redis.Redis, packed: bytes, seconds: float | None) -> Any:
    try:
        return ask_node(node, packed, seconds)
    except redis.ResponseError as error:
        return error


def _uptime(reply: Any) -> float:
    """Reads a server's uptime, in seconds; infinite if it does not tell this user."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    _, _, rest = text.partition("uptime_in_seconds:")
    return float(rest.split()[0]) if rest else float("inf")


def _is_reached(address: str) -> bool:
    """Returns whether a server takes connections; one that is busy does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except OSError:
        return False
    return True
