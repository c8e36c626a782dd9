"""Sends commands to the nodes of a cluster that hold their keys, and walks the keys of all nodes.

A request is split by node, and its parts are sent to all nodes before any reply is read, so that
the nodes work side by side; the next request is on its way while the replies to the one before it
are read. Two requests at most are in memory, whatever the number of nodes.

What a node does not answer, or says to ask another node for, is sent again. So all commands must
be such as can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, SlotNotCoveredError

from fiftyone_redis.connection import cluster, complete_answers
from fiftyone_redis.connection.client import get_address
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.node_connection import NodeConnection
from fiftyone_redis.connection.retry import Attempts
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.wire import Request, pack, to_text
from fiftyone_redis.errors import FiftyOneRedisError

_ASKING = pack(["ASKING"])
_COMPLETE_WALKS = 2
_MOST_WALKS = 5


class _NodeConnections:
    """One connection to each node that is needed, borrowed until the stack is closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._open: dict[redis.Redis, NodeConnection] = {}

    def to(self, node: redis.Redis) -> NodeConnection:
        line = self._open.get(node)
        if line is None or line.error is not None:
            line = self._open[node] = NodeConnection(node, self._stack)
        return line


@dataclass(frozen=True)
class _SentRequest:
    """A request that is under way.

    Args:
        request: its commands, their keys, and what they are about
        parts: which of them went where, by number, and whether as ones that were asked for (ASKING)
        replies: those that are there, by the number of the command
    """

    request: Request
    parts: list[tuple[NodeConnection, list[int], bool]]
    replies: list[Any]


def exchange(
    client: redis.RedisCluster, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends requests, each before the replies to the one before it are read.

    Args:
        client: a client of the cluster
        requests: packed commands, and what each of them is about

    Yields:
        what they are about, and the replies to them; the server's errors are among the replies

    Raises:
        ConnectionFailedError: if a node is gone, and no other takes its place in time
    """
    upcoming = iter(requests)
    first = next(upcoming, None)
    if first is None:
        return
    requests = chain([first], upcoming)
    if first.keys is None and complete_answers.needs_checks(client):
        yield from complete_answers.exchange(client, requests)
        return
    with ExitStack() as stack:
        lines = _NodeConnections(stack)
        before: _SentRequest | None = None
        for request in requests:
            sent = _SentRequest(request, [], [None] * len(request.items))
            _send(client, lines, sent, range(len(request.items)))
            if before is not None:
                yield before.request.items, _read_or_resend(client, before)
            before = sent
        if before is not None:
            yield before.request.items, _read_or_resend(client, before)


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
        before = _fetch_slot_layout(client)
        try:
            for node in cluster.list_primaries(client):
                yield from pages(node)
        except FiftyOneRedisError as error:
            if not cluster.is_retryable(error.__cause__):
                raise
            failure = error  # of a node that another one takes the place of, or it comes back
            continue
        complete += 1
        still = (
            before == _fetch_slot_layout(client) and "[" not in before
        )  # as slots on the move are written
        if still or complete == _COMPLETE_WALKS:
            return
    if failure is not None:
        raise failure


def _fetch_slot_layout(client: redis.RedisCluster) -> str:
    """Returns which node holds which slots, and which are on the move, as the nodes say it."""
    attempts = Attempts(client)
    cluster.refresh_slots(client)
    with translate_errors(get_address(client)):
        while True:
            try:
                return "\n".join(_fetch_own_slots(node) for node in cluster.list_primaries(client))
            except redis.RedisError as error:
                cluster.wait_and_recover(client, attempts, error)


def _fetch_own_slots(node: redis.Redis) -> str:
    """Returns what CLUSTER NODES says of a node itself: its id, configuration epoch and slots."""
    lines = to_text(node.execute_command("CLUSTER", "NODES")).splitlines()
    own = next(line for line in lines if "myself" in line).split()
    return " ".join([own[0], own[6], *own[8:]])


def _send(
    client: redis.RedisCluster,
    lines: _NodeConnections,
    sent: _SentRequest,
    numbers: Iterable[int],
    failures: int = 0,
) -> None:
    """Sends some commands of a request to where their keys are, or where replies say they are."""
    groups: dict[tuple[redis.Redis, bool], list[int]] = {}
    target = _make_router(client, failures)
    commands, _, keys = sent.request
    for number in numbers:
        reply = sent.replies[number]
        try:
            node = target(None if keys is None else keys[number], reply)
        except SlotNotCoveredError as error:
            sent.replies[number] = ClusterDownError(str(error))
        else:
            groups.setdefault((node, type(reply) is AskError), []).append(number)
    sent.parts[:] = [(lines.to(node), part, asking) for (node, asking), part in groups.items()]
    for line, part, asking in sent.parts:
        ahead = _ASKING if asking else b""
        line.send(b"".join(piece for n in part for piece in (ahead, *commands[n])))


def _make_router(
    client: redis.RedisCluster, failures: int
) -> Callable[[bytes | None, Any], redis.Redis]:
    """Returns a function that tells to which node a command goes, by its key and last reply."""
    known: dict[int, redis.Redis] = {}  # by slot

    def target(key: bytes | None, reply: Any) -> redis.Redis:
        if key is None:
            return cluster.pick_node(client, failures)
        if isinstance(reply, AskError):  # MovedError is one too
            named = client.get_node(host=reply.host, port=reply.port)
            if named is not None:
                return client.get_redis_connection(named)
        slot = key_slot(key)
        if slot not in known:
            known[slot] = client.get_redis_connection(client.get_node_from_key(key))
        return known[slot]

    return target


def _receive(sent: _SentRequest) -> list[int]:
    """Reads the replies that are on their way; returns which commands have no good one yet."""
    for line, part, asking in sent.parts:
        replies = line.read_replies(2 * len(part)) if asking else line.read_replies(len(part))
        if asking:
            pairs = zip(replies[::2], replies[1::2], strict=True)
            replies = [ahead if _is_refusal(ahead) else reply for ahead, reply in pairs]
        for number, reply in zip(part, replies, strict=True):
            sent.replies[number] = reply
    return [number for number, reply in enumerate(sent.replies) if cluster.is_retryable(reply)]


def _is_refusal(reply: Any) -> bool:
    return isinstance(reply, redis.ResponseError)


def _read_or_resend(client: redis.RedisCluster, sent: _SentRequest) -> list[Any]:
    """Reads the replies to a request, and sends again what a changing cluster did not answer."""
    left = _receive(sent)
    if left:
        cluster.refresh_slots(client)  # slots that moved are mostly known to be elsewhere by now
        left = _resend(client, sent, left, 1)
    attempts = Attempts(client)
    while left:
        with translate_errors(get_address(client)):
            cluster.wait_and_recover(client, attempts, sent.replies[left[0]])
        left = _resend(client, sent, left, attempts.failures + 1)
    return sent.replies


def _resend(
    client: redis.RedisCluster, sent: _SentRequest, numbers: list[int], failures: int
) -> list[int]:
    """Sends some commands of a request again, and returns which have no good reply yet.

    Other connections are used, as replies to the next request are on their way over those.
    """
    with ExitStack() as stack:
        _send(client, _NodeConnections(stack), sent, numbers, failures)
        return _receive(sent)
