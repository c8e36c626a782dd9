"""Every exception that this package raises.

FiftyOneRedisError
├── SettingsError            a setting is wrong, unknown or in conflict   (ValueError)
├── InputError               vectors, ids or arguments are refused        (ValueError)
├── ConnectionFailedError    no server answers                            (ConnectionError)
│   └── AuthenticationError  the server does not accept the credentials
├── UnsupportedServerError   the server cannot do what is asked of it
├── IndexNotFoundError       no index of that name
├── IndexMismatchError       an index is there but does not fit
├── IncompleteResultError    the server cut a query short
├── ServerError              the server refused a command
│   └── ResultLimitError     more results are asked for than the server returns
└── PrivateServerError       the private Redis cannot be found, started or stopped

Errors of redis-py are turned into these in one place, :func:`mapped`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis.exceptions
from redis.sentinel import MasterNotFoundError

from fiftyone_redis.engine.certificates import advice, fault


class FiftyOneRedisError(Exception):
    """The root of every exception that this package raises."""


class SettingsError(FiftyOneRedisError, ValueError):
    """A setting is wrong, unknown, or in conflict with another one."""


class InputError(FiftyOneRedisError, ValueError):
    """Vectors, ids or arguments that are refused before anything is written."""


class ConnectionFailedError(FiftyOneRedisError, ConnectionError):
    """No server answers at the address that was given."""


class AuthenticationError(ConnectionFailedError):
    """The server does not accept the credentials, or they lack a right."""


class UnsupportedServerError(FiftyOneRedisError):
    """The server cannot do what is asked of it."""


class IndexNotFoundError(FiftyOneRedisError):
    """The server has no index of that name."""


class IndexMismatchError(FiftyOneRedisError, ValueError):
    """An index of that name is there, but does not fit what is asked of it."""


class IncompleteResultError(FiftyOneRedisError):
    """The server cut a query short, so that its answer is only part of the truth."""


class ServerError(FiftyOneRedisError):
    """The server refused a command."""


class ResultLimitError(ServerError):
    """More results are asked for than the server is configured to return (MAXSEARCHRESULTS)."""


class PrivateServerError(FiftyOneRedisError):
    """The private Redis of this machine cannot be found, started or stopped."""


class NoAnswerError(redis.exceptions.TimeoutError):
    """A server let a command wait for longer than it may take; asking again is no use.

    This is for use within the engine, which turns it into :class:`ConnectionFailedError`.
    """


def some(values: list[str], most: int = 3) -> str:
    """Names the first few of many offenders.

    Args:
        values: the offenders
        most: how many to name

    Returns:
        for instance ``"a, b, c and 7 more"``
    """
    named = ", ".join(values[:most])
    return named if len(values) <= most else f"{named} and {len(values) - most} more"


# Behind this, Redis repeats the command that it does not know, a password included.
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
    redis.exceptions.TimeoutError: "Redis at {address} did not answer in time ({reason}).",
    redis.exceptions.BusyLoadingError: (
        "Redis at {address} is still loading its data; try again, or raise retry_timeout."
    ),
    redis.exceptions.InvalidResponse: (
        "What answers at {address} is no Redis, or wants TLS; check the port, or set ssl."
    ),
    MasterNotFoundError: "{reason}.",
}
_WHY_ENDED = (
    "Redis at {address} ended the connection ({reason}); if it wants TLS set ssl, and if it wants "
    "a client certificate set ssl_certfile and ssl_keyfile to one that it trusts."
)
_WHY_NONE = (
    "No Redis answers at {address} ({reason}); start one (`fiftyone-redis server start` runs a "
    "private one) or set host and port."
)

# How redis-py and OpenSSL say that the other side hung up.
_ENDED = ("eof occurred", "connection reset", "closed by server", "broken pipe")

# The wordings are those of RediSearch 2.10 and of Redis 8.6's query engine.
_REPLIES: tuple[tuple[str, type[FiftyOneRedisError], str], ...] = (
    (
        "unknown command 'ft.",
        UnsupportedServerError,
        "this server has no query engine; use Redis 8, Redis Stack or a private one",
    ),
    (
        "cannot create index on db != 0",
        UnsupportedServerError,
        "indexes can only be made in database 0; set db=0",
    ),
    ("no such index", IndexNotFoundError, "the index does not exist; check index_name"),
    ("index not found", IndexNotFoundError, "the index does not exist; check index_name"),
    ("unknown index name", IndexNotFoundError, "the index does not exist; check index_name"),
    ("index already exists", IndexMismatchError, "an index of that name exists already"),
    ("timeout limit was reached", IncompleteResultError, "the query took too long; try again"),
    ("limit exceeds maximum", ResultLimitError, "too many results are asked for"),
    (
        "bad arguments for vector similarity",
        UnsupportedServerError,
        "this server cannot hold such an index",
    ),
    (
        "write against a read only",
        ServerError,
        "it is a replica, and nobody made it a primary; connect to the primary",
    ),
    (
        "exceeded maximum size allowed by server limit",
        UnsupportedServerError,
        "this server cannot hold such an index",
    ),
    (
        "used memory > 'maxmemory'",
        ServerError,
        "its memory is full; raise maxmemory or remove data",
    ),
)


@contextmanager
def mapped(address: str) -> Iterator[None]:
    """Turns redis-py's exceptions into this package's, chained to the original.

    Args:
        address: where the server was looked for, without credentials

    Raises:
        FiftyOneRedisError: in the place of any exception of redis-py
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        raise translated(error, address) from error


def translated(error: redis.exceptions.RedisError, address: str) -> FiftyOneRedisError:
    """Returns this package's exception for one of redis-py's, the most specific that fits."""
    _without_echo(error)
    reason = str(error).rstrip(" ,.")
    if isinstance(error, redis.exceptions.NoPermissionError) or reason.startswith("NOPERM"):
        return AuthenticationError(
            f"Redis at {address} refuses this user a right ({reason}); have it granted, "
            "docs/permissions.md says which are needed."
        )
    if isinstance(error, _REFUSED_LOGIN) or reason.startswith(("WRONGPASS", "NOAUTH")):
        return AuthenticationError(
            f"Redis at {address} refuses these credentials ({reason}); check username and password."
        )
    if isinstance(error, _UNREACHABLE):
        return ConnectionFailedError(_why_unreachable(error, address, reason))
    for fragment, kind, what in _REPLIES:
        if fragment in reason.lower():
            return kind(f"Redis at {address}: {what} ({reason}).")
    return ServerError(f"Redis at {address} refused a command: {reason}.")


def _why_unreachable(error: redis.exceptions.RedisError, address: str, reason: str) -> str:
    tls = fault(error)
    if tls is not None:
        return f"No Redis answers at {address} over TLS: {advice(tls)}."
    for kind, said in _WHY_UNREACHABLE.items():
        if isinstance(error, kind):
            return said.format(address=address, reason=reason)
    ended = any(said in reason.lower() for said in _ENDED)
    return (_WHY_ENDED if ended else _WHY_NONE).format(address=address, reason=reason)


def _without_echo(error: BaseException | None) -> None:
    """Cuts what may be a password out of an error and of those that led to it."""
    while error is not None:
        error.args = tuple(str(arg).split(_ECHO, maxsplit=1)[0] for arg in error.args)
        error = error.__cause__ or error.__context__
