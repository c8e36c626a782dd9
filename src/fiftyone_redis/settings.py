"""Connection settings: merges keywords, environment and brain config, and opens the client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fiftyone_redis import server
from fiftyone_redis.connection import pool
from fiftyone_redis.connection.client import Client, connect_with
from fiftyone_redis.connection.parameters import (
    CERTIFICATES,
    CONNECT_TIMEOUT,
    IN_URL,
    NAMES,
    SENTINEL,
    Parameters,
    check_parameters,
    show,
)
from fiftyone_redis.connection.protocol import deadline
from fiftyone_redis.connection.retry import RETRIES, RETRY_TIMEOUT
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    PrivateServerError,
    ServerStoppedError,
)
from fiftyone_redis.log import get_logger

__all__ = ["NAMES", "Parameters", "Source", "configured", "open_client", "read", "sources"]

logger = get_logger(__name__)

DEFAULT_HOST = pool.DEFAULT_HOST
DEFAULT_PORT = pool.DEFAULT_PORT

_VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_"

# Settings that do not name a server.
_ANY_SERVER = (
    "db",
    "socket_timeout",
    "socket_connect_timeout",
    "cluster",
    "retries",
    "retry_timeout",
)


# What a keyword that names a server takes the place of, where that is configured.
_REPLACED = {
    "url": IN_URL,
    "host": ("url", "sentinels", *SENTINEL),
    "sentinels": ("url", "host", "port"),
}


@dataclass(frozen=True)
class Source:
    """A setting and its origin.

    Args:
        name: one of :data:`NAMES`
        value: its value as text, with secrets masked; None if it is not set
        origin: ``"keyword"``, ``"environment"``, ``"brain config"`` or ``"default"``
    """

    name: str
    value: str | None
    origin: str


def configured() -> dict[str, Any]:
    """Returns FiftyOne's settings of the redis backend, from brain config and environment."""
    import fiftyone.brain as fob  # noqa: PLC0415  (the brain imports backends on demand itself)

    config: dict[str, Any] = fob.brain_config.similarity_backends.get("redis", {})
    return config


def drop_replaced(config: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Returns configured settings, without those of another server than keywords name.

    Args:
        config: the configured settings by name
        keywords: the keyword arguments; None for one that is not given
    """
    replaced = {
        each
        for name, others in _REPLACED.items()
        if keywords.get(name) is not None
        for each in others
    }
    if not str(keywords.get("url") or "rediss:").startswith("rediss:"):
        replaced |= set(CERTIFICATES)
    return {name: value for name, value in config.items() if name not in replaced}


def read(values: Mapping[str, Any]) -> Parameters:
    """Reads and checks settings that FiftyOne has parsed.

    FiftyOne parses environment variables: a password ``0123`` arrives as the number 123. Such a
    value is read from the environment again.

    Args:
        values: values by name, one of :data:`NAMES` each; None for a setting that is not given

    Raises:
        SettingsError: if a value has the wrong type, a file cannot be read, or settings conflict
    """
    return check_parameters(
        {name: _raw(name, value) for name, value in values.items() if value is not None}
    )


def sources(keywords: Mapping[str, Any], config: Mapping[str, Any]) -> list[Source]:
    """Returns the origin of each setting; checks nothing.

    Args:
        keywords: the keyword arguments; None for one that is not given
        config: the result of :func:`configured`

    Returns:
        one source for each of :data:`NAMES`, in order
    """
    return [_source(name, keywords.get(name), config.get(name)) for name in NAMES]


def open_client(settings: Parameters, start: bool = True) -> Client:
    """Connects to the given server; if none is given, to the default address or a private server.

    Args:
        settings: how to connect
        start (True): whether to start the private server if nothing answers at the default address

    Raises:
        ServerStoppedError: if the private server is to be used, but is stopped and not started
        FiftyOneRedisError: if no server answers, or it cannot be used
    """
    wanted = settings
    if settings.url is None and settings.sentinels is None:
        host, port = settings.host or DEFAULT_HOST, settings.port or DEFAULT_PORT
        wanted = replace(settings, host=host, port=port)
    try:
        return connect_with(wanted)
    except AuthenticationError:
        raise  # a server answered
    except ConnectionFailedError:
        if names_server(settings):
            raise
        return _private_client(settings, start)


def names_server(settings: Parameters) -> bool:
    """Returns whether the settings name a server; if not, a private one may be used."""
    given = {name for name in NAMES if getattr(settings, name) is not None}
    return bool(settings.cluster) or not given <= set(_ANY_SERVER)


def _private_client(how: Parameters, start: bool) -> Client:
    was_running = server.status() is not None
    try:
        if not (was_running or start):
            server.find_program()
            raise ServerStoppedError(
                f"No Redis answers at {DEFAULT_HOST}:{DEFAULT_PORT}, and the private server is "
                "stopped: start it with `fiftyone-redis server start`."
            )
        private = server.start()
    except PrivateServerError as error:
        raise ConnectionFailedError(
            f"No Redis answers at {DEFAULT_HOST}:{DEFAULT_PORT}, no other host, port or url is "
            f"set, and no private one can be started: {error}"
        ) from error
    if not was_running:
        logger.info(
            "No Redis answers at %s:%d; started a private one in %s (process %d)",
            DEFAULT_HOST,
            DEFAULT_PORT,
            private.folder,
            private.pid,
        )
    return connect_with(replace(how, url=private.url, db=None))


def _source(name: str, keyword: Any, configured: Any) -> Source:
    if keyword is not None:
        return Source(name, show(name, keyword), "keyword")
    if configured is None:
        default = DEFAULTS.get(name)
        return Source(name, None if default is None else str(default), "default")
    raw = _from_environment(name, configured)
    if raw is not None:
        return Source(name, show(name, raw), "environment")
    return Source(name, show(name, configured), "brain config")


def _raw(name: str, value: Any) -> Any:
    """Returns a value as it was before FiftyOne parsed it, if it came from the environment."""
    if isinstance(value, str):
        return value
    raw = _from_environment(name, value)
    return value if raw is None else raw


def _from_environment(name: str, value: Any) -> str | None:
    """Returns the text of the environment variable that a value was parsed from, or None."""
    raw = os.environ.get(_VARIABLE + name.upper())
    if raw is None or raw == value:
        return raw
    from fiftyone.brain.config import _parse_env_value  # noqa: PLC0415

    return raw if _parse_env_value(raw) == value else None


DEFAULTS: dict[str, Any] = {
    "host": DEFAULT_HOST,
    "port": DEFAULT_PORT,
    "db": 0,
    "ssl": False,
    "ssl_check_hostname": True,
    "socket_timeout": deadline.REPLY_TIMEOUT,
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "retries": RETRIES,
    "retry_timeout": RETRY_TIMEOUT,
}
