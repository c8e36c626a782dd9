"""Sends commands that each concern one key to the nodes of a cluster that hold the keys.

A batch is split by node, and its parts are sent to all nodes before any reply is read, so that the
nodes work side by side; the next batch is on its way while the replies to the one before it are
read. Two batches at most are in memory, whatever the number of nodes.

What a node does not answer, or says to ask another node for, is sent again. So all commands must
be such as can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import AskError, ClusterDownError, SlotNotCoveredError

from fiftyone_redis.engine import cluster
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.connection import address, borrowed
from fiftyone_redis.engine.errors import FiftyOneRedisError, mapped
from fiftyone_redis.engine.protocol import pack, text
from fiftyone_redis.engine.retry import Attempts, rules

_ASKING = pack(["ASKING"])
_COMPLETE_WALKS = 2
_MOST_WALKS = 5


@dataclass(frozen=True)
class Batch:
    """Commands that each concern one key.

    Args:
        keys: the key of each
        packed: packs some of them, given by their numbers
    """

    keys: Sequence[bytes]
    packed: Callable[[Sequence[int]], bytes]


@dataclass
class _Line:
    """A connection to a node, and the error that broke it, if any."""

    connection: Any
    error: redis.RedisError | None = None

    def send(self, request: bytes) -> None:
        if self.error is None:
            try:
                self.connection.send_packed_command([request])
            except redis.RedisError as error:
                self._break(error)

    def replies(self, count: int) -> list[Any]:
        """Reads replies; errors of the server, and what broke the connection, are among them."""
        found: list[Any] = []
        while self.error is None and len(found) < count:
            try:
                found.append(self.connection.read_response())
            except redis.ResponseError as error:
                found.append(error)
            except redis.RedisError as error:
                self._break(error)
        return found + [self.error] * (count - len(found))

    def _break(self, error: redis.RedisError) -> None:
        self.error = error
        self.connection.disconnect()  # replies may still be on their way


class _Lines:
    """One connection to each node that is needed, borrowed until the stack is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: dict[redis.Redis, _Line] = {}

    def to(self, node: redis.Redis) -> _Line:
        line = self._open.get(node)
        if line is None or line.error is not None:
            line = self._open[node] = self._opened(node)
        return line

    def _opened(self, node: redis.Redis) -> _Line:
        try:
            return _Line(self._stack.enter_context(borrowed(node)))
        except redis.RedisError as error:
            return _Line(None, error)


@dataclass(frozen=True)
class _Sent:
    """A batch that is under way.

    Args:
        batch: the batch
        parts: which of its commands went where, and whether as ones that were asked for (ASKING)
        replies: those that are there, by the number of the command
    """

    batch: Batch
    parts: list[tuple[_Line, list[int], bool]]
    replies: list[Any]


def exchange(client: redis.RedisCluster, batches: Iterable[Batch]) -> Iterator[list[Any]]:
    """Sends batches, each before the replies to the one before it are read.

    Args:
        client: a client of the cluster
        batches: what to send

    Yields:
        the replies to a batch, in the order of its keys; the server's errors are among them

    Raises:
        ConnectionFailedError: if a node is gone, and no other takes its place in time
    """
    with ExitStack() as stack:
        lines = _Lines(stack)
        before: _Sent | None = None
        for batch in batches:
            count = len(batch.keys)
            sent = _send(client, lines, batch, range(count), [None] * count)
            if before is not None:
                yield _settled(client, before)
            before = sent
        if before is not None:
            yield _settled(client, before)


def scan(
    client: Client, pages: Callable[[redis.Redis], Iterator[list[bytes]]]
) -> Iterator[list[bytes]]:
    """Walks the keys of all nodes that hold documents.

    Keys that move to another node meanwhile could be missed, so that everything is walked once
    more if any slot changed hands, or was about to. Keys can come more than once.

    Args:
        client: a client of the cluster, or of one server
        pages: walks the keys of one node

    Yields:
        what ``pages`` yields

    Raises:
        ConnectionFailedError: if a node is gone, and no other takes its place in time
    """
    if not isinstance(client, redis.RedisCluster):
        yield from pages(client)
        return
    complete = 0
    failure: FiftyOneRedisError | None = None
    for _ in range(_MOST_WALKS):
        before = _layout(client)
        try:
            for node in cluster.primaries(client):
                yield from pages(node)
        except FiftyOneRedisError as error:
            if not cluster.is_retried(error.__cause__):
                raise
            failure = error  # of a node that another one takes the place of, or it comes back
            continue
        complete += 1
        still = before == _layout(client) and "[" not in before  # as slots on the move are written
        if still or complete == _COMPLETE_WALKS:
            return
    if failure is not None:
        raise failure


def _layout(client: redis.RedisCluster) -> str:
    """Returns which node holds which slots, and which are on the move, as the nodes say it."""
    attempts = Attempts(rules(client))
    cluster.refresh(client)
    with mapped(address(client)):
        while True:
            try:
                return "\n".join(_own_slots(node) for node in cluster.primaries(client))
            except redis.RedisError as error:
                cluster.recover(client, attempts, error)


def _own_slots(node: redis.Redis) -> str:
    """Returns what CLUSTER NODES says of a node itself: its id, configuration epoch and slots."""
    lines = text(node.execute_command("CLUSTER", "NODES")).splitlines()
    own = next(line for line in lines if "myself" in line).split()
    return " ".join([own[0], own[6], *own[8:]])


def _send(
    client: redis.RedisCluster,
    lines: _Lines,
    batch: Batch,
    numbers: Iterable[int],
    replies: list[Any],
) -> _Sent:
    """Sends some commands of a batch to where their keys are, or where replies say they are."""
    groups: dict[tuple[redis.Redis, bool], list[int]] = {}
    for number in numbers:
        try:
            node = _target(client, batch.keys[number], replies[number])
        except SlotNotCoveredError as error:
            replies[number] = ClusterDownError(str(error))
        else:
            asking = type(replies[number]) is AskError
            groups.setdefault((node, asking), []).append(number)
    parts = [(lines.to(node), part, asking) for (node, asking), part in groups.items()]
    for line, part, asking in parts:
        if asking:
            line.send(b"".join(_ASKING + batch.packed([number]) for number in part))
        else:
            line.send(batch.packed(part))
    return _Sent(batch, parts, replies)


def _target(client: redis.RedisCluster, key: bytes, reply: Any) -> redis.Redis:
    node = None
    if isinstance(reply, AskError):  # MovedError is one too
        node = client.get_node(host=reply.host, port=reply.port)
    return client.get_redis_connection(node or client.get_node_from_key(key))


def _receive(sent: _Sent) -> None:
    for line, part, asking in sent.parts:
        replies = line.replies(2 * len(part))[1::2] if asking else line.replies(len(part))
        for number, reply in zip(part, replies, strict=True):
            sent.replies[number] = reply


def _settled(client: redis.RedisCluster, sent: _Sent) -> list[Any]:
    """Reads the replies to a batch, and sends again what a changing cluster did not answer."""
    _receive(sent)
    left = _unanswered(sent.replies)
    if left:
        cluster.refresh(client)  # slots that moved are mostly known to be elsewhere by now
        left = _sent_again(client, sent, left)
    attempts = Attempts(rules(client))
    while left:
        with mapped(address(client)):
            cluster.recover(client, attempts, sent.replies[left[0]])
        left = _sent_again(client, sent, left)
    return sent.replies


def _sent_again(client: redis.RedisCluster, sent: _Sent, numbers: list[int]) -> list[int]:
    """Sends some commands of a batch again, and returns those that were not answered again.

    Other connections are used, as replies to the next batch are on their way over those.
    """
    with ExitStack() as stack:
        _receive(_send(client, _Lines(stack), sent.batch, numbers, sent.replies))
    return _unanswered(sent.replies)


def _unanswered(replies: list[Any]) -> list[int]:
    return [number for number, reply in enumerate(replies) if cluster.is_retried(reply)]
