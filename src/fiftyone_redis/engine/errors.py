"""Old import path of the exceptions (version 0.1.0); they are in ``fiftyone_redis.errors``."""

from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IncompleteResultError,
    IndexChangedError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    PrivateServerError,
    ResultLimitError,
    ServerError,
    SettingsError,
    UnsupportedServerError,
    some,
)

__all__ = [
    "AuthenticationError",
    "ConnectionFailedError",
    "FiftyOneRedisError",
    "IncompleteResultError",
    "IndexChangedError",
    "IndexMismatchError",
    "IndexNotFoundError",
    "InputError",
    "PrivateServerError",
    "ResultLimitError",
    "ServerError",
    "SettingsError",
    "UnsupportedServerError",
    "some",
]


def __getattr__(name: str) -> object:
    if name in ("mapped", "translated"):
        # These need redis-py, which the exceptions do not.
        from fiftyone_redis.connection import translate  # noqa: PLC0415

        return getattr(translate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
