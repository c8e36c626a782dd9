"""The options that say which Redis a command uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

_OPTIONS = (
    click.option("--url", help="The URL of Redis, such as redis://localhost:6379."),
    click.option("--host", help="The host of Redis."),
    click.option("--port", type=click.IntRange(1, 65535), help="Its port."),
    click.option("--username", help="The user to log in as; the password comes from settings."),
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which gets those that were given as ``connection``."""

    @wraps(command)
    def run(
        *args: Any,
        url: str | None,
        host: str | None,
        port: int | None,
        username: str | None,
        **kwargs: Any,
    ) -> Any:
        given = {"url": url, "host": host, "port": port, "username": username}
        named = {name: value for name, value in given.items() if value is not None}
        return command(*args, connection=named, **kwargs)

    decorated: Callable[..., Any] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
