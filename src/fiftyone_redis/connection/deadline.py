"""How long to wait for replies of the query engine, and for a server's first words.

redis-py has one limit for all replies of a connection, which must suit the longest. A query that
carries its own time limit needs little more than that, and most others are answered at once.
"""

from __future__ import annotations

from typing import Any

from fiftyone_redis.connection.translate import NoAnswerError
from fiftyone_redis.connection.wire import (
    is_search_command,
    may_take_long,
    read_name,
    read_query_timeout,
)

MARGIN = 5.0
"""Seconds by which the reply to a query may come later than the query's own time limit."""

REPLY_TIMEOUT = 120.0
"""Seconds to wait for the reply to a command without a limit of its own, unless told otherwise."""

QUICK_TIMEOUT = 30.0
"""Seconds to wait for commands of the query engine whose work does not grow with the data."""


def get_reply_timeout(packed: bytes) -> float | None:
    """Returns how many seconds to wait for the reply to a packed command.

    Args:
        packed: the command, as :func:`~fiftyone_redis.connection.wire.pack` packs it

    Returns:
        the seconds; None if the connection's own limit for replies is to hold
    """
    name = read_name(packed)
    if not is_search_command(name) or may_take_long(name):
        return None
    own = read_query_timeout(packed)
    if own is None:
        return QUICK_TIMEOUT
    return own + MARGIN if own else None


def await_reply(connection: Any, seconds: float | None) -> None:
    """Waits until a reply comes along a connection; the connection's own limit holds if shorter.

    Args:
        connection: one of redis-py's connections
        seconds: how long to wait; None for as long as the connection does

    Raises:
        NoAnswerError: if none comes in that time
        redis.RedisError: if the connection is lost
    """
    if seconds is None or has_shorter_timeout(connection, seconds):
        return
    if not connection.can_read(timeout=seconds):
        raise make_no_answer_error(connection, seconds)


def has_shorter_timeout(connection: Any, seconds: float) -> bool:
    """Returns whether a connection was told to wait for less than some seconds."""
    own = connection.socket_timeout
    return own not in (None, REPLY_TIMEOUT) and own <= seconds


def make_no_answer_error(connection: Any, seconds: float) -> NoAnswerError:
    """Returns the error for a server that lets a command wait for too long."""
    path = getattr(connection, "path", None)
    place = path or f"{connection.host}:{connection.port}"
    return NoAnswerError(
        f"Redis at {place} did not answer within {seconds:g} s, which is more than the command may "
        "take; it is overloaded or hangs: look at its log and SLOWLOG, or raise query_timeout"
    )


class HandshakeTimeout:
    """Makes a connection of redis-py's wait for a server's first words as long as for connecting.

    A server that hangs takes connections, and says nothing. Comes before redis-py's class.

    Attributes:
        is_known: whether the process at the other end was looked at since the connection was made;
            for whoever has to know that
    """

    is_known = True

    def on_connect(self) -> None:
        """Greets the server."""
        self._greet(super().on_connect)  # type: ignore[misc]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Does the same, as redis-py 6 and later call it."""
        self._greet(super().on_connect_check_health, check_health)  # type: ignore[misc]

    def _greet(self, greet: Any, *arguments: Any) -> None:
        connection: Any = self
        connection._sock.settimeout(connection.socket_connect_timeout)
        greet(*arguments)
        connection._sock.settimeout(connection.socket_timeout)
        self.is_known = False
