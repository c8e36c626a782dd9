"""Connections over TLS, in which the handshake is part of connecting."""

from __future__ import annotations

import ssl
from typing import Any

import redis


class TlsConnection(redis.SSLConnection):
    """redis-py's, but that the time to connect limits the handshake too.

    redis-py waits for it as long as for a reply, and a server without TLS never answers it.
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
    """Returns why a server ended a connection after the handshake, if it says so.

    In TLS 1.3 a server reads the client's certificate after the client's part of the handshake is
    done. Its reason gets lost when the client has written something by then; here nothing is.

    Args:
        pool: a pool of connections that are ended that way
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
