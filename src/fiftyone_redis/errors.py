"""Every exception that this package raises.

FiftyOneRedisError
├── SettingsError            a setting is wrong, unknown or conflicting   (ValueError)
├── InputError               vectors, ids or arguments are invalid        (ValueError)
├── ConnectionFailedError    no server answers                            (ConnectionError)
│   ├── AuthenticationError  the server does not accept the credentials
│   └── ServerStoppedError   the private server is stopped, and was not to be started
├── UnsupportedServerError   the server lacks a required feature
├── IndexNotFoundError       no index of that name
├── IndexMismatchError       the index exists but does not match              (ValueError)
│   └── IndexChangedError    it was rebuilt or recreated while in use
├── IndexInUseError          other brain runs use the index
├── IncompleteResultError    the server cut a query short
├── ProtocolError            a reply of the server makes no sense
├── ServerError              the server refused a command
│   └── ResultLimitError     the request exceeds MAXSEARCHRESULTS
├── MissingPackageError      an optional package is not installed         (ImportError)
└── PrivateServerError       the private Redis cannot be found, started or stopped

Errors of redis-py are turned into these in one place, ``connection/translate.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class FiftyOneRedisError(Exception):
    """The root of every exception that this package raises."""


class SettingsError(FiftyOneRedisError, ValueError):
    """A setting is wrong, unknown, or conflicts with another one."""


class InputError(FiftyOneRedisError, ValueError):
    """Vectors, ids or arguments are invalid; nothing was written."""


class ConnectionFailedError(FiftyOneRedisError, ConnectionError):
    """No server answers at the given address."""


class AuthenticationError(ConnectionFailedError):
    """The server does not accept the credentials, or the user lacks a permission."""


class ServerStoppedError(ConnectionFailedError):
    """The private server of this machine is stopped, and was not to be started."""


class UnsupportedServerError(FiftyOneRedisError):
    """The server lacks a feature that the request needs."""


class IndexNotFoundError(FiftyOneRedisError):
    """The server has no index of that name."""


class IndexMismatchError(FiftyOneRedisError, ValueError):
    """An index of that name exists, but does not match the request."""


class IndexChangedError(IndexMismatchError):
    """Someone else rebuilt or recreated the index while it was in use."""


class IndexInUseError(FiftyOneRedisError):
    """Other brain runs use the index; nothing was changed."""


class IncompleteResultError(FiftyOneRedisError):
    """The server cut a query short; its results are incomplete."""


class ProtocolError(FiftyOneRedisError):
    """A reply of the server makes no sense."""


class ServerError(FiftyOneRedisError):
    """The server refused a command."""


class ResultLimitError(ServerError):
    """The request asks for more results than the server returns (MAXSEARCHRESULTS)."""


class MissingPackageError(FiftyOneRedisError, ImportError):
    """An optional package that is needed is not installed; the message tells how to install it."""


class PrivateServerError(FiftyOneRedisError):
    """The private Redis of this machine cannot be found, started or stopped."""


def list_first(values: list[str], most: int = 3) -> str:
    """Lists the first few values, and counts the rest.

    Args:
        values: the values
        most: how many to list

    Returns:
        for instance ``"a, b, c and 7 more"``
    """
    listed = ", ".join(values[:most])
    return listed if len(values) <= most else f"{listed} and {len(values) - most} more"


def format_count(number: int, one: str, many: str = "") -> str:
    """Formats a number of things: ``"1 index"``, ``"1,200 vectors"``.

    Args:
        number: how many
        one: the name of one of them
        many: the name of several; by default that of one with an s
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def name_missing(missing: list[str]) -> str:
    """Names ids that are not in an index: ``"1 ID that is not in the index ('a')"``."""
    what = "1 ID that is" if len(missing) == 1 else f"{len(missing)} IDs that are"
    return f"{what} not in the index ({list_first([repr(id) for id in missing])})"


def list_unknown(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Lists unknown names, each with the known name that it resembles most, if any.

    Returns:
        for instance ``"algoritm (did you mean algorithm?), colour"``
    """
    candidates = sorted(known)
    described = []
    for name in sorted(unknown):
        near = get_close_matches(name.lower(), candidates, n=1, cutoff=0.7)
        described.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return list_first(described)
