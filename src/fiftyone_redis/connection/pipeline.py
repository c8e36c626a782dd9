"""Pipelines requests on one connection, or on one connection to each node of a cluster.

The next request is sent before the replies to the previous one are read, so neither side waits for
the other. At most two requests are in memory. Redis keeps reading requests while replies are
unread, so this cannot deadlock as long as either requests or replies are small, and they always
are: writes have short replies, and reads have short requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from fiftyone_redis.connection import routing
from fiftyone_redis.connection.client import get_address
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.deadline import await_reply, get_reply_timeout
from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.retry import Attempts, close_idle_connections, is_transient
from fiftyone_redis.connection.translate import translate, translate_errors
from fiftyone_redis.connection.wire import Request
from fiftyone_redis.errors import list_first


def exchange(
    client: Client, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends requests, and yields their replies; the next request is already on its way.

    In a cluster ``routing.py`` sends each command to the node of its key. Unanswered commands are
    retried, so a command may run twice.

    Args:
        client: a client of a server or a cluster
        requests: the requests: packed commands, and the item that each command is about

    Yields:
        the items of a request, and the replies; server errors count as replies
    """
    if isinstance(client, redis.RedisCluster):
        yield from routing.exchange(client, requests)
        return
    upcoming = iter(requests)
    unanswered: deque[_SentRequest] = deque()
    attempts = Attempts(client)
    with translate_errors(get_address(client)):
        while True:
            try:
                with borrow_connection(client) as connection:
                    for request in unanswered:
                        connection.send_packed_command([request.packed])
                    while True:
                        for request in _take_next(upcoming, unanswered):
                            connection.send_packed_command([request.packed])
                        if not unanswered:
                            return
                        _read_replies(connection, unanswered[0])
                        answered = unanswered.popleft()
                        yield answered.items, answered.replies
                        attempts.reset()
            except redis.RedisError as error:
                attempts.wait_or_raise(error)
                close_idle_connections(client)


@dataclass
class _SentRequest:
    """A request that was sent: packed commands, their items, and the replies so far."""

    packed: bytes
    items: Sequence[Any]
    replies: list[Any] = field(default_factory=list)


def _take_next(
    upcoming: Iterator[Request], unanswered: deque[_SentRequest]
) -> Iterator[_SentRequest]:
    """Yields the requests to send now, so that one more than the one being read is on its way."""
    while len(unanswered) < 2 and (following := next(upcoming, None)) is not None:
        unanswered.append(_SentRequest(following.packed(), following.items))
        yield unanswered[-1]


def _read_replies(connection: Any, request: _SentRequest) -> None:
    """Reads the replies to a request; raises a transient error if there is one.

    Final replies are kept: a retry of a successful delete reports a missing document.
    """
    with parsing("a command"):
        replies, transient = _read_each(
            connection, len(request.items), get_reply_timeout(request.packed)
        )
    if request.replies:
        pairs = zip(request.replies, replies, strict=True)
        replies = [new if is_transient(old) else old for old, new in pairs]
    request.replies = replies
    if transient is not None:
        raise transient


def _read_each(
    connection: Any, count: int, seconds: float | None
) -> tuple[list[Any], redis.RedisError | None]:
    """Reads replies; returns them with errors included, and the last transient error."""
    replies: list[Any] = []
    transient = None
    read_response = connection.read_response
    while len(replies) < count:
        try:
            if seconds is not None:
                await_reply(connection, seconds)
            replies.append(read_response())
        except redis.ResponseError as error:
            replies.append(error)
            transient = error if is_transient(error) else transient
    return replies, transient


def exchange_or_raise(
    client: Client, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """Sends requests as :func:`exchange` does, but raises if a command fails.

    Args:
        client: a client of a server or a cluster
        requests: the requests: packed commands, and the id or key that each command is about

    Yields:
        the ids or keys of a request, and the replies

    Raises:
        ServerError: if the server refuses commands; the message names the first documents
    """
    for items, replies in exchange(client, requests):
        raise_errors(client, items, replies)
        yield items, replies


def raise_errors(client: Client, ids: Sequence[str], replies: list[Any]) -> None:
    """Raises the first error among replies; the message names the first documents."""
    errors = [
        (id, reply)
        for id, reply in zip(ids, replies, strict=True)
        if isinstance(reply, redis.RedisError)
    ]
    if errors:
        problem = translate(errors[0][1], get_address(client))
        named = list_first([repr(id) for id, _ in errors])
        raise type(problem)(f"{problem} It concerns {len(errors)} documents: {named}.")
