"""Many commands at once, on one connection, or on one to each node of a cluster.

A request is on its way while the replies to the one before it are read, so that neither side waits
for the other; two requests at most are in memory. Redis goes on reading requests while replies are
unread, so this cannot lock up as long as one side of the exchange is small, and it always is:
writes have short replies, and reads short requests.
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
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.retry import Attempts, close_idle_connections, is_transient
from fiftyone_redis.connection.translate import translate, translate_errors
from fiftyone_redis.connection.wire import Request
from fiftyone_redis.errors import list_first


def exchange(
    client: Client, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends requests, each before the replies to the one before it are read.

    In a cluster each command goes to the node of its key, or to any if it has none; ``routing.py``
    does that. Those that were not answered are sent again where that may help, so that commands may
    be carried out twice.

    Args:
        client: where to
        requests: packed commands, and what each of them is about

    Yields:
        what they are about, and the replies to them; the server's errors are among the replies
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
    """Packed commands, what they are about, and the replies to them."""

    packed: bytes
    items: Sequence[Any]
    replies: list[Any] = field(default_factory=list)


def _take_next(
    upcoming: Iterator[Request], unanswered: deque[_SentRequest]
) -> Iterator[_SentRequest]:
    """Yields the next requests to send, until there is one ahead of that whose replies are read."""
    while len(unanswered) < 2 and (following := next(upcoming, None)) is not None:
        unanswered.append(_SentRequest(following.packed(), following.items))
        yield unanswered[-1]


def _read_replies(connection: Any, request: _SentRequest) -> None:
    """Reads the replies to a request; raises if some tell of a state that will pass.

    Those that did not are kept: a document that was deleted is not there when it is tried again.
    """
    replies, passing = _read_each(connection, len(request.items), get_reply_timeout(request.packed))
    if request.replies:
        pairs = zip(request.replies, replies, strict=True)
        replies = [new if is_transient(old) else old for old, new in pairs]
    request.replies = replies
    if passing is not None:
        raise passing


def _read_each(
    connection: Any, count: int, seconds: float | None
) -> tuple[list[Any], redis.RedisError | None]:
    """Reads replies, errors among them; returns them, and one that tells of a passing state."""
    replies: list[Any] = []
    passing = None
    read_response = connection.read_response
    while len(replies) < count:
        try:
            if seconds is not None:
                await_reply(connection, seconds)
            replies.append(read_response())
        except redis.ResponseError as error:
            replies.append(error)
            passing = error if is_transient(error) else passing
    return replies, passing


def exchange_or_raise(
    client: Client, requests: Iterable[Request]
) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """Sends requests as :func:`exchange` does, and raises where a command is refused.

    Args:
        client: where to
        requests: packed commands, and the id or key that each of them is about

    Yields:
        those ids or keys, and the replies to the commands

    Raises:
        ServerError: if the server refuses some commands, naming the first documents concerned
    """
    for items, replies in exchange(client, requests):
        _raise_errors(client, items, replies)
        yield items, replies


def _raise_errors(client: Client, ids: Sequence[str], replies: list[Any]) -> None:
    errors = [
        (id, reply)
        for id, reply in zip(ids, replies, strict=True)
        if isinstance(reply, redis.RedisError)
    ]
    if errors:
        problem = translate(errors[0][1], get_address(client))
        named = list_first([repr(id) for id, _ in errors])
        raise type(problem)(f"{problem} It concerns {len(errors)} documents: {named}.")
