"""Reply timeouts for single commands, and a timeout for the handshake.

redis-py has one timeout for all replies of a connection, which must suit the slowest command. A
query with a TIMEOUT of its own needs little more than that, and most other commands are fast.
"""

from __future__ import annotations

from typing import Any

from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.connection.translate import NoAnswerError
from fiftyone_redis.connection.wire import (
    is_search_command,
    may_take_long,
    read_name,
    read_query_timeout,
)

MARGIN = 5.0
"""Seconds to wait beyond a query's own TIMEOUT."""

REPLY_TIMEOUT = 120.0
"""Default socket timeout in seconds, for commands without a timeout of their own."""

QUICK_TIMEOUT = 30.0
"""Seconds to wait for search commands whose work does not grow with the data."""


def get_reply_timeout(packed: bytes) -> float | None:
    """Returns the reply timeout of a packed command.

    Args:
        packed: the command, as :func:`~fiftyone_redis.connection.wire.pack` packs it

    Returns:
        the timeout in seconds; None to use the connection's socket timeout
    """
    name = read_name(packed)
    if not is_search_command(name) or may_take_long(name):
        return None
    own = read_query_timeout(packed)
    if own is None:
        return QUICK_TIMEOUT
    return own + MARGIN if own else None


def await_reply(connection: Any, seconds: float | None) -> None:
    """Waits for a reply; the connection's socket timeout applies if it is shorter.

    Args:
        connection: a redis-py connection
        seconds: the timeout; None for the connection's socket timeout

    Raises:
        NoAnswerError: if no reply arrives in that time
        redis.RedisError: if the connection is lost
    """
    if seconds is None or has_shorter_timeout(connection, seconds):
        return
    if not connection.can_read(timeout=seconds):
        raise make_no_answer_error(connection, seconds)


def has_shorter_timeout(connection: Any, seconds: float) -> bool:
    """Returns whether the user set a socket timeout of at most some seconds."""
    own = connection.socket_timeout
    return own not in (None, REPLY_TIMEOUT) and own <= seconds


def make_no_answer_error(connection: Any, seconds: float) -> NoAnswerError:
    """Returns the error for a command that got no reply in time."""
    path = getattr(connection, "path", None)
    place = path or f"{connection.host}:{connection.port}"
    return NoAnswerError(
        f"Redis at {place} did not answer within {seconds:g} s, which is more than the command may "
        "take; it is overloaded or hangs: look at its log and SLOWLOG, or raise query_timeout"
    )


class HandshakeTimeout:
    """Limits the handshake of a redis-py connection to the connect timeout.

    A hanging server accepts connections, but never replies. List this mixin before redis-py's
    class.

    Attributes:
        is_uptime_checked: whether the server's uptime was read since the connection was made
    """

    is_uptime_checked = True

    def on_connect(self) -> None:
        """Runs the handshake (HELLO, AUTH, SELECT)."""
        self._greet(super().on_connect)  # type: ignore[misc]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Runs the handshake; redis-py 6 and later call this method instead."""
        self._greet(super().on_connect_check_health, check_health)  # type: ignore[misc]

    def _greet(self, greet: Any, *arguments: Any) -> None:
        connection: Any = self
        connection._sock.settimeout(connection.socket_connect_timeout)
        with parsing("HELLO or AUTH"):
            greet(*arguments)
        connection._sock.settimeout(connection.socket_timeout)
        self.is_uptime_checked = False
