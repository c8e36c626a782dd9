"""A client of one server, which pipelines requests on one connection.

The next request is sent before the replies to the previous one are read, so neither side waits for
the other. At most two requests are in memory. Redis keeps reading requests while replies are
unread, so this cannot deadlock as long as either requests or replies are small, and they always
are: writes have short replies, and reads have short requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import redis
from redis.sentinel import SentinelConnectionPool

from fiftyone_redis.connection.clients import sentinel
from fiftyone_redis.connection.clients.base_client import BaseClient, Replies, Sender
from fiftyone_redis.connection.pool import (
    Pool,
    borrow_connection,
    read_address,
    read_options,
    send_command,
)
from fiftyone_redis.connection.protocol.deadline import await_reply
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.protocol.wire import Request, get_reply_timeout
from fiftyone_redis.connection.retry import Attempts, RetryPolicy, is_transient, read_policy


class Server(BaseClient, redis.Redis):
    """A client of one server, of a cluster's node, or of the primary that sentinels name."""

    @classmethod
    def from_pool(cls, connection_pool: redis.ConnectionPool) -> Server:
        """Returns a client that closes the pool when it is closed."""
        return cast("Server", super().from_pool(connection_pool))

    @property
    def address(self) -> str:
        """The address of the server, or of its sentinels, without credentials."""
        pool = self.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            return sentinel.get_address(pool)
        return read_address(pool.connection_kwargs)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often, and for how long, to retry; not at all if others made this client."""
        return read_policy(self.get_retry())

    def list_primaries(self) -> list[Server]:
        """Returns this client alone."""
        return [self]

    def pick_node(self, failures: int = 0) -> Server:  # noqa: ARG002
        """Returns this client."""
        return self

    def open_decoding_client(self) -> Server:
        """Returns a client of the same server that decodes replies to text."""
        pool = self.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            return Server.from_pool(sentinel.copy_pool(pool, decode_responses=True))
        return Server.from_pool(Pool(**{**read_options(pool), "decode_responses": True}))

    @contextmanager
    def limit_retries(self, seconds: float) -> Iterator[Server]:  # noqa: ARG002
        """Yields this client: a single server answers, or is lost, at once."""
        yield self

    def wait_and_recover(self, attempts: Attempts, error: redis.RedisError) -> None:
        """Waits before the next attempt, and closes idle connections.

        After a failover they lead to the wrong server.

        Raises:
            redis.RedisError: the error itself, if it is not retried
        """
        attempts.wait_or_raise(error)
        self.connection_pool.disconnect(inuse_connections=False)

    def scan_nodes(self, pages: Callable[[Server], Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
        """Yields the pages of this server."""
        yield from pages(self)

    def exchange(self, requests: Iterable[Request]) -> Replies:
        """Sends requests over one connection, and yields their replies."""
        upcoming = iter(requests)
        unanswered: deque[_SentRequest] = deque()
        for attempt in self.retrying():
            with attempt, borrow_connection(self) as connection:
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
                    attempt.reset()

    def _find_sender(self, name: str, failures: int) -> Sender:  # noqa: ARG002
        return partial(send_command, self)


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
