"""How to reach Redis: what keywords, environment and brain config say, and the client they give."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, fields
from typing import Any

from fiftyone_redis import server
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.connection import connect
from fiftyone_redis.engine.errors import (
    ConnectionFailedError,
    PrivateServerError,
    SettingsError,
)

# FiftyOne shows what its own loggers say; the line about a server that is started belongs there.
logger = logging.getLogger("fiftyone." + __name__)

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 6379

_VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_"


@dataclass(frozen=True)
class Settings:
    """How to reach a server. None means that nothing was said.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, in the place of the others
        host: the server's name or address
        port: its TCP port
        db: its database; only 0 can be indexed
        username: the user to log in as
        password: that user's password
    """

    url: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    db: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


NAMES = tuple(f.name for f in fields(Settings))
"""The names of the settings, which are also those of the keywords and of the brain config."""


def read(values: dict[str, Any]) -> Settings:
    """Reads settings as FiftyOne hands them over.

    FiftyOne parses environment variables before a backend sees them: a password ``0123`` arrives
    as the number 123. Where a value came from the environment, it is read from there again.

    Args:
        values: some of :data:`NAMES`, and their values; None where nothing was said

    Raises:
        SettingsError: if a value is of the wrong type, or ``url`` is in conflict with another one
    """
    given = {
        name: _from_environment(name, value) for name, value in values.items() if value is not None
    }
    in_conflict = sorted(given.keys() - {"url"}) if "url" in given else []
    if in_conflict:
        raise SettingsError(
            f"url and {', '.join(in_conflict)} are both set; set either the url or the others."
        )
    for name in ("port", "db"):
        if name in given:
            given[name] = _number(name, given[name])
    for name in given.keys() - {"port", "db"}:
        if not isinstance(given[name], str):
            raise SettingsError(f"{name} must be text, not {type(given[name]).__name__}.")
    return Settings(**given)


def open_client(settings: Settings) -> Client:
    """Connects as the settings say, and to this user's private server where they say nothing.

    Raises:
        FiftyOneRedisError: if no server answers, or it cannot be used
    """
    if settings.url is not None:
        return connect(settings.url)
    try:
        return connect(
            host=settings.host or DEFAULT_HOST,
            port=DEFAULT_PORT if settings.port is None else settings.port,
            db=settings.db or 0,
            username=settings.username,
            password=settings.password,
        )
    except ConnectionFailedError:
        if settings != Settings(db=settings.db):
            raise
        return _private_client()


def _private_client() -> Client:
    was_running = server.status() is not None
    try:
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
    return connect(private.url)


def _from_environment(name: str, value: Any) -> Any:
    raw = os.environ.get(_VARIABLE + name.upper())
    if raw is None or isinstance(value, str):
        return value
    from fiftyone.brain.config import _parse_env_value  # noqa: PLC0415

    return raw if _parse_env_value(raw) == value else value


def _number(name: str, value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise SettingsError(f"{name} must be a whole number, not {value!r}.") from None
