"""TLS connections whose connect timeout covers the handshake."""

from __future__ import annotations

import ssl
from typing import Any

import redis


class TlsConnection(redis.SSLConnection):
    """A TLS connection whose connect timeout covers the handshake.

    redis-py applies the reply timeout, and a server without TLS never replies to a handshake.
    """

    def _connect(self) -> Any:
        reply_timeout, self.socket_timeout = self.socket_timeout, self.socket_connect_timeout
        try:
            sock = super()._connect()  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise redis.TimeoutError(
                "no TLS handshake; if the server does not speak TLS, leave ssl out"
            ) from None
        finally:
            self.socket_timeout = reply_timeout
        sock.settimeout(reply_timeout)
        return sock


def fetch_tls_refusal(pool: redis.ConnectionPool) -> ssl.SSLError | None:
    """Connects once more to learn why a server closed a connection after the handshake.

    In TLS 1.3 the server checks the client's certificate after the client has finished its part of
    the handshake. If the client has written data by then, the server's reason is lost; so this
    connection writes nothing.

    Args:
        pool: the pool whose connections get closed

    Returns:
        the server's reason; None if it gives none
    """
    if not issubclass(pool.connection_class, TlsConnection):
        return None
    connection: Any = pool.make_connection()
    try:
        with connection._connect() as sock:
            sock.settimeout(pool.connection_kwargs.get("socket_connect_timeout"))
            sock.recv(1)
    except ssl.SSLError as error:
        return error
    except (OSError, redis.RedisError):
        return None
    return None
