"""Every exception that this package raises.

FiftyOneRedisError
├── SettingsError            a setting is wrong, unknown or in conflict   (ValueError)
├── InputError               vectors, ids or arguments are refused        (ValueError)
├── ConnectionFailedError    no server answers                            (ConnectionError)
│   └── AuthenticationError  the server does not accept the credentials
├── UnsupportedServerError   the server cannot do what is asked of it
├── IndexNotFoundError       no index of that name
├── IndexMismatchError       an index is there but does not fit               (ValueError)
│   └── IndexChangedError    it became another one while it was used
├── IncompleteResultError    the server cut a query short
├── ServerError              the server refused a command
│   └── ResultLimitError     more results are asked for than the server returns
└── PrivateServerError       the private Redis cannot be found, started or stopped

Errors of redis-py are turned into these in one place, ``translation.py``.
"""

from __future__ import annotations


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


class IndexChangedError(IndexMismatchError):
    """The index was rebuilt, or made anew, by others while it was used."""


class IncompleteResultError(FiftyOneRedisError):
    """The server cut a query short, so that its answer is only part of the truth."""


class ServerError(FiftyOneRedisError):
    """The server refused a command."""


class ResultLimitError(ServerError):
    """More results are asked for than the server is configured to return (MAXSEARCHRESULTS)."""


class PrivateServerError(FiftyOneRedisError):
    """The private Redis of this machine cannot be found, started or stopped."""


def list_first(values: list[str], most: int = 3) -> str:
    """Names the first few of many offenders.

    Args:
        values: the offenders
        most: how many to name

    Returns:
        for instance ``"a, b, c and 7 more"``
    """
    named = ", ".join(values[:most])
    return named if len(values) <= most else f"{named} and {len(values) - most} more"
