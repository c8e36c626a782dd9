"""Translates redis-py's exceptions to this package's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis.exceptions
from redis.sentinel import MasterNotFoundError

from fiftyone_redis.connection.protocol.deadline import NoAnswerError
from fiftyone_redis.connection.protocol.refusals import Cut, Refusal, is_pool_exhausted, recognise
from fiftyone_redis.connection.tls_errors import explain_tls_error, find_tls_error
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IncompleteResultError,
    IndexChangedError,
    IndexMismatchError,
    IndexNotFoundError,
    ResultLimitError,
    ServerError,
    UnsupportedServerError,
)

# After this, Redis echoes the arguments of an unknown command, which may include a password.
_ECHO = "with args beginning with"

_REFUSED_LOGIN = (
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
)

_UNREACHABLE = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.InvalidResponse,
)

_WHY_UNREACHABLE = {
    NoAnswerError: "{reason}.",
    redis.exceptions.TimeoutError: (
        "Redis at {address} did not answer in time ({reason}); check its load and the network, or "
        "raise socket_timeout."
    ),
    redis.exceptions.BusyLoadingError: (
        "Redis at {address} is still loading its data; try again, or raise retry_timeout."
    ),
    redis.exceptions.InvalidResponse: (
        "The server at {address} is not Redis, or expects TLS; check the port, or set ssl."
    ),
    MasterNotFoundError: "{reason}.",
}
_WHY_ENDED = (
    "Redis at {address} closed the connection ({reason}); if it expects TLS, set ssl; if it asks "
    "for a client certificate, set ssl_certfile and ssl_keyfile to one that it trusts."
)
_WHY_EXHAUSTED = (
    "All connections to Redis at {address} are in use ({reason}); raise max_connections in url, or "
    "use fewer threads."
)
_WHY_NONE = (
    "No Redis answers at {address} ({reason}); start one (`fiftyone-redis server start` runs a "
    "private one) or set host and port."
)

# How redis-py and OpenSSL report that the server closed the connection.
_ENDED = ("eof occurred", "connection reset", "closed by server", "broken pipe")

_REFUSED: dict[Refusal, tuple[type[FiftyOneRedisError], str]] = {
    Refusal.INDEX_NOT_FOUND: (IndexNotFoundError, "the index does not exist; check index_name"),
    Refusal.INDEX_DROPPED: (IndexNotFoundError, "the index was dropped meanwhile; create it again"),
    Refusal.INDEX_EXISTS: (IndexMismatchError, "an index with that name exists already"),
    Refusal.ALIAS_NOT_FOUND: (ServerError, "no index has this alias"),
    Refusal.ALIAS_EXISTS: (IndexMismatchError, "an index has that name as an alias already"),
    Refusal.ALIAS_IS_INDEX: (
        IndexMismatchError,
        "the new alias is the name of an existing index; choose another name",
    ),
    Refusal.ALIAS_OF_OTHER: (
        IndexMismatchError,
        "another index has that name or alias; choose another name",
    ),
    Refusal.ALIAS_TARGET: (
        IndexNotFoundError,
        "no index has that name; it may be an alias; check index_name",
    ),
    Refusal.FENCED: (
        IndexChangedError,
        "another process dropped or changed the index meanwhile; check what it is now",
    ),
    Refusal.CURSOR_NOT_FOUND: (
        ServerError,
        "it dropped the results of a query before all were read; run it again",
    ),
    Refusal.QUERY_TIMEOUT: (
        IncompleteResultError,
        f"it cut the query short; {Cut.TIMEOUT.value}",
    ),
    Refusal.RESULT_LIMIT: (
        ResultLimitError,
        "the query asks for more results than the server allows",
    ),
    Refusal.OUT_OF_MEMORY: (ServerError, "its memory is full; raise maxmemory or remove data"),
    Refusal.NO_QUERY_ENGINE: (
        UnsupportedServerError,
        "this server has no query engine; use Redis 8, Redis Stack or a private one",
    ),
    Refusal.NO_SVS: (
        UnsupportedServerError,
        "its query engine was built without SVS-VAMANA; use FLAT or HNSW",
    ),
    Refusal.NO_JSON: (
        UnsupportedServerError,
        "it has no RedisJSON, which indexes of JSON documents need; use HASH documents",
    ),
    Refusal.UNSUPPORTED_INDEX: (
        UnsupportedServerError,
        "this server does not support such an index; check its algorithm, dtype and dimension",
    ),
    Refusal.WRONG_DATABASE: (
        UnsupportedServerError,
        "indexes can only be made in database 0; set db=0",
    ),
    Refusal.READ_ONLY: (
        ServerError,
        "it is a replica, and did not become a primary; connect to the primary",
    ),
    Refusal.SLOTS_UNAVAILABLE: (
        ServerError,
        "a part of the cluster cannot be searched while slots move; try again when they have moved",
    ),
    Refusal.NODES_UNREACHABLE: (
        ServerError,
        "it does not reach all nodes of the cluster; bring them back and try again",
    ),
    Refusal.INDEX_DIFFERS: (
        ServerError,
        "the nodes of the cluster have different indexes of that name; try again, or recreate it",
    ),
}


@contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Translates redis-py's exceptions in a ``with`` block, chained to the original.

    Args:
        address: the server's address, without credentials

    Raises:
        FiftyOneRedisError: instead of any redis-py exception
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        raise translate(error, address) from error


def translate(error: redis.exceptions.RedisError, address: str) -> FiftyOneRedisError:
    """Returns the most specific exception of this package for a redis-py exception."""
    _redact_arguments(error)
    reason = str(error).rstrip(" ,.")
    refusal = recognise(reason)
    if isinstance(error, redis.exceptions.NoPermissionError) or refusal is Refusal.NO_PERMISSION:
        return AuthenticationError(
            f"Redis at {address} denied this: the user lacks a right ({reason}). Grant it; "
            "docs/permissions.md lists the rights that are needed."
        )
    if isinstance(error, _REFUSED_LOGIN) or refusal is Refusal.BAD_CREDENTIALS:
        return AuthenticationError(
            f"Redis at {address} refuses these credentials ({reason}); check username and password."
        )
    if isinstance(error, _UNREACHABLE):
        return ConnectionFailedError(_explain_unreachable(error, address, reason))
    if refusal in _REFUSED:
        kind, what = _REFUSED[refusal]
        return kind(f"Redis at {address}: {what} ({reason}).")
    return ServerError(f"Redis at {address} refused a command: {reason}.")


def _explain_unreachable(error: redis.exceptions.RedisError, address: str, reason: str) -> str:
    tls = find_tls_error(error)
    if tls is not None:
        return f"No Redis answers at {address} over TLS: {explain_tls_error(tls)}."
    for kind, template in _WHY_UNREACHABLE.items():
        if isinstance(error, kind):
            return template.format(address=address, reason=reason)
    if is_pool_exhausted(error):
        return _WHY_EXHAUSTED.format(address=address, reason=reason)
    ended = any(part in reason.lower() for part in _ENDED)
    return (_WHY_ENDED if ended else _WHY_NONE).format(address=address, reason=reason)


def _redact_arguments(error: BaseException | None) -> None:
    """Removes echoed arguments, which may hold a password, from an error and its causes."""
    while error is not None:
        error.args = tuple(str(arg).split(_ECHO, maxsplit=1)[0] for arg in error.args)
        error = error.__cause__ or error.__context__
