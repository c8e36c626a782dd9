"""One set of parameters, or one URL, to a client of a server that can search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fiftyone_redis.engine.capabilities import check_server
from fiftyone_redis.engine.errors import (
    FiftyOneRedisError,
    SettingsError,
    UnsupportedServerError,
    mapped,
)

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection."""

REPLY_TIMEOUT = 120.0
"""Seconds to wait for the reply to a command."""

_OLD_POOL = tuple(int(part) for part in redis.__version__.split(".")[:2]) < (5, 3)


def connect(
    url: str | None = None,
    *,
    host: str = "localhost",
    port: int = 6379,
    db: int = 0,
    username: str | None = None,
    password: str | None = None,
) -> redis.Redis:
    """Connects to a server and makes sure that it can search.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, in the place of the other arguments
        host: the server's name or address
        port: its TCP port
        db: its database; only 0 can be indexed
        username: the user to log in as, if any
        password: that user's password, if any

    Returns:
        a client whose replies are bytes, in RESP3

    Raises:
        SettingsError: if the URL cannot be read
        ConnectionFailedError: if no server answers
        AuthenticationError: if the server does not accept the credentials
        UnsupportedServerError: if it has no query engine, or the database is not 0
    """
    options: dict[str, Any] = {
        "protocol": 3,
        "decode_responses": False,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": REPLY_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }
    if url is not None:
        client = _from_url(url, options)
    else:
        options.update(host=host, port=port, db=db, username=username, password=password)
        client = redis.Redis(**options)
    try:
        _check_server(client)
    except FiftyOneRedisError:
        client.close()
        raise
    return client


def decoding(client: redis.Redis) -> redis.Redis:
    """Returns a client of the same server whose replies are text, as people expect them."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "decode_responses": True}
    return redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options)
    )


def address(client: redis.Redis) -> str:
    """Returns where a client's server is, without credentials."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def execute(client: redis.Redis, *command: Any) -> Any:
    """Sends one command and returns its raw reply.

    Raises:
        FiftyOneRedisError: in the place of any exception of redis-py
    """
    with mapped(address(client)):
        return client.execute_command(*command)


@contextmanager
def borrowed(client: redis.Redis) -> Iterator[Any]:
    """Borrows a connection from a client's pool, to send and read in one's own order.

    The connection goes back to the pool at the end. After an exception it is closed first, since
    replies may still be on their way.
    """
    pool = client.connection_pool
    with mapped(address(client)):
        connection = pool.get_connection("HSET") if _OLD_POOL else pool.get_connection()
        clean = False
        try:
            yield connection
            clean = True
        finally:
            if not clean:
                connection.disconnect()
            pool.release(connection)


def _from_url(url: str, options: dict[str, Any]) -> redis.Redis:
    parsed = _parsed(url)
    if parsed is None:
        # No chain and no quote: the url may hold a password.
        raise SettingsError(
            "The url cannot be read; it must look like redis://host:6379, rediss://host:6379 or "
            "unix:///path/to/redis.sock, with special characters of a password written as %xx, and "
            "options that redis-py knows."
        )
    fixed = {name: options[name] for name in ("protocol", "decode_responses")}
    return redis.Redis(connection_pool=redis.ConnectionPool(**{**options, **parsed, **fixed}))


def _parsed(url: str) -> dict[str, Any] | None:
    """Returns what redis-py reads from a URL; None if it cannot, or makes something else of it."""
    try:
        split = urlsplit(url)
        options: dict[str, Any] = dict(redis.connection.parse_url(url))
        kind = options.get("connection_class", redis.Connection)
        kind(**{name: value for name, value in options.items() if name != "connection_class"})
    except (ValueError, TypeError):
        return None
    # A password with an unescaped "/" or "#" ends the host part early.
    cut_short = split.scheme != "unix" and "@" in split.path + split.fragment
    return None if cut_short else options


def _check_server(client: redis.Redis) -> None:
    db = client.connection_pool.connection_kwargs.get("db") or 0
    if db != 0:
        raise UnsupportedServerError(
            f"Indexes can only be made in database 0, not in {db}; set db=0."
        )
    check_server(client)
