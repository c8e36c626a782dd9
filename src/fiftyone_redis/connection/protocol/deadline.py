"""Timeouts for single replies, and for the handshake.

redis-py has one timeout for all replies of a connection, which must suit the slowest command.
``wire.py`` knows how long each command may take.
"""

from __future__ import annotations

import time
from typing import Any

import redis

from fiftyone_redis.connection.protocol.parsing import parsing

REPLY_TIMEOUT = 120.0
"""Default socket timeout in seconds, for commands without a timeout of their own."""


class NoAnswerError(redis.TimeoutError):
    """A command got no reply in time; it is not retried.

    For internal use; it is translated to
    :class:`~fiftyone_redis.errors.ConnectionFailedError`.
    """


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
        last_made_at: when any connection of this process was made, by ``time.monotonic()``
    """

    is_uptime_checked = True
    last_made_at = 0.0

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
        HandshakeTimeout.last_made_at = time.monotonic()
