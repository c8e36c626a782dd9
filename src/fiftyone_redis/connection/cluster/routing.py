"""Sends commands to the cluster nodes that hold their keys, and scans the keys of all nodes.

A request is split by node. All parts are sent before any reply is read, so the nodes work in
parallel; the next request is sent before the replies to the previous one are read. At most two
requests are in memory, whatever the number of nodes.

Unanswered and redirected commands are sent again, so all commands must be repeatable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, SlotNotCoveredError

from fiftyone_redis.connection.pool import NodeConnection
from fiftyone_redis.connection.protocol.wire import Request, pack, to_text
from fiftyone_redis.connection.retry import is_retryable
from fiftyone_redis.errors import FiftyOneRedisError

_ASKING = pack(["ASKING"])
_COMPLETE_SCANS = 2
_MOST_SCANS = 5


class _NodeConnections:
    """One connection to each node in use, borrowed until the stack is closed."""

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
    """A request that was sent.

    Args:
        request: the request
        parts: for each node, its connection, the indices of its commands, and whether ASKING
            precedes each of them
        replies: the replies so far, one for each command
    """

    request: Request
    parts: list[tuple[NodeConnection, list[int], bool]]
    replies: list[Any]


def exchange(
    cluster: Any, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends requests to the nodes of their keys; see :meth:`BaseClient.exchange`.

    Raises:
        ConnectionFailedError: if a node is down, and no replica takes over in time
    """
    with ExitStack() as stack:
        lines = _NodeConnections(stack)
        before: _SentRequest | None = None
        for request in requests:
            sent = _SentRequest(request, [], [None] * len(request.items))
            _send(cluster, lines, sent, range(len(request.items)))
            if before is not None:
                yield before.request.items, _read_or_resend(cluster, before)
            before = sent
        if before is not None:
            yield before.request.items, _read_or_resend(cluster, before)


def scan(cluster: Any, pages: Callable[[Any], Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Scans the keys of all primaries.

    A scan can miss keys that move to another node, so all nodes are scanned again if slots moved,
    or are moving. Keys can be returned more than once.

    Args:
        cluster: the client of the cluster
        pages: scans the keys of one node

    Yields:
        the pages of all nodes

    Raises:
        ConnectionFailedError: if a node is down, and no replica takes over in time
    """
    complete = 0
    failure: FiftyOneRedisError | None = None
    for _ in range(_MOST_SCANS):
        before = _fetch_slot_layout(cluster)
        try:
            for node in cluster.list_primaries():
                yield from pages(node)
        except FiftyOneRedisError as error:
            if not is_retryable(error.__cause__):
                raise
            failure = error  # a replica may take over, or the node may come back
            continue
        complete += 1
        # "[" marks moving slots.
        is_stable = before == _fetch_slot_layout(cluster) and "[" not in before
        if is_stable or complete == _COMPLETE_SCANS:
            return
    if failure is not None:
        raise failure


def _fetch_slot_layout(cluster: Any) -> str:
    """Fetches which node holds which slots, and which slots are moving."""
    cluster.refresh_slots()
    for attempt in cluster.retrying():
        with attempt:
            layout = "\n".join(_fetch_own_slots(node) for node in cluster.list_primaries())
    return layout


def _fetch_own_slots(node: redis.Redis) -> str:
    """Fetches a node's own line of CLUSTER NODES: its id, configuration epoch and slots."""
    lines = to_text(node.execute_command("CLUSTER", "NODES")).splitlines()
    own = next(line for line in lines if "myself" in line).split()
    return " ".join([own[0], own[6], *own[8:]])


def _send(
    cluster: Any,
    lines: _NodeConnections,
    sent: _SentRequest,
    numbers: Iterable[int],
    failures: int = 0,
) -> None:
    """Sends some commands of a request to the nodes of their keys, or where redirected to."""
    groups: dict[tuple[redis.Redis, bool], list[int]] = {}
    target = _make_router(cluster, failures)
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


def _make_router(cluster: Any, failures: int) -> Callable[[bytes | None, Any], Any]:
    """Returns a function that picks the node for a command, by its key and last reply."""
    known: dict[int, redis.Redis] = {}  # by slot

    def target(key: bytes | None, reply: Any) -> Any:
        if key is None:
            return cluster.pick_node(failures)
        if isinstance(reply, AskError):  # MovedError is one too
            named = cluster.get_node(host=reply.host, port=reply.port)
            if named is not None:
                return cluster.get_redis_connection(named)
        slot = key_slot(key)
        if slot not in known:
            known[slot] = cluster.get_redis_connection(cluster.get_node_from_key(key))
        return known[slot]

    return target


def _receive(sent: _SentRequest) -> list[int]:
    """Reads the pending replies; returns the indices of the commands to send again."""
    for line, part, asking in sent.parts:
        replies = line.read_replies(2 * len(part)) if asking else line.read_replies(len(part))
        if asking:
            pairs = zip(replies[::2], replies[1::2], strict=True)
            replies = [ahead if _is_refusal(ahead) else reply for ahead, reply in pairs]
        for number, reply in zip(part, replies, strict=True):
            sent.replies[number] = reply
    return [number for number, reply in enumerate(sent.replies) if is_retryable(reply)]


def _is_refusal(reply: Any) -> bool:
    return isinstance(reply, redis.ResponseError)


def _read_or_resend(cluster: Any, sent: _SentRequest) -> list[Any]:
    """Reads the replies to a request, and sends commands again until each has a final reply."""
    left = _receive(sent)
    if left:
        cluster.refresh_slots()  # most nodes know by now where slots moved
        left = _resend(cluster, sent, left, 1)
    for attempt in cluster.retrying():
        with attempt:
            if attempt.failures:
                left = _resend(cluster, sent, left, attempt.failures + 1)
            if left:
                raise sent.replies[left[0]]
    return sent.replies


def _resend(cluster: Any, sent: _SentRequest, numbers: list[int], failures: int) -> list[int]:
    """Sends some commands again; returns the indices of those that still need a retry.

    Uses other connections, because replies to the next request are pending on the first ones.
    """
    with ExitStack() as stack:
        _send(cluster, _NodeConnections(stack), sent, numbers, failures)
        return _receive(sent)
