"""How commands reach Redis and FiftyOne: options, clients, datasets and the indexes of runs."""
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.errors import list_first

if TYPE_CHECKING:
    from fiftyone_redis.connection.client import Client
    from fiftyone_redis.doctor.runs import Run

_DATABASE = "Start MongoDB, or correct FiftyOne's setting database_uri."

_OPTIONS = (
    click.option("--url", help="The URL of Redis, such as redis://localhost:6379."),
    click.option("--host", help="The host of Redis."),
    click.option("--port", type=click.IntRange(1, 65535), help="Its port."),
    click.option(
        "--username",
        help="The user to log in as; set the password in the environment or brain config.",
    ),
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


def connect(connection: dict[str, Any]) -> Client:
    """Connects to the server of the settings and options, without loading FiftyOne."""
    from fiftyone_redis import settings
    from fiftyone_redis.doctor.diagnosis import read_configured

    configured = settings.drop_replaced(read_configured(), connection)
    wanted = settings.read({**configured, **connection})
    return settings.open_client(wanted, start=False)


def find_runs() -> list[Run]:
    """Reads all runs from FiftyOne's database; loads FiftyOne only if that has to start it."""
    from fiftyone_redis.doctor.runs import find_runs as read_runs

    try:
        runs = read_runs()
        if runs is None:
            load_fiftyone()
            runs = read_runs()
    except ConnectionError as error:
        raise click.ClickException(
            f"{error}, so nobody knows which runs use the indexes. {_DATABASE}"
        ) from error
    if runs is None:
        raise click.ClickException(
            "FiftyOne's database cannot be found, so nobody knows which runs use the indexes. "
            f"{_DATABASE}"
        )
    return runs


def load_fiftyone() -> Any:
    """Imports FiftyOne with this package behind ``backend="redis"``, and starts its database."""
    with telling_errors():
        import fiftyone as fo

        import fiftyone_redis

        fiftyone_redis.register()
        fo.config.show_progress_bars &= output.shows_progress()
        try:
            fo.list_datasets()
        except ConnectionError as error:
            raise click.ClickException(
                f"FiftyOne's database does not answer: {error}. {_DATABASE}"
            ) from error
    return fo


def configure(connection: dict[str, Any]) -> None:
    """Puts the options into FiftyOne's settings of the backend, for this process."""
    import fiftyone.brain as fob

    from fiftyone_redis import settings

    kept = settings.drop_replaced(settings.configured(), connection)
    fob.brain_config.similarity_backends["redis"] = {**kept, **connection}


def load_dataset(name: str) -> Any:
    """Loads a dataset; without one of that name, the error lists those that there are."""
    fo = load_fiftyone()
    if not fo.dataset_exists(name):
        known = list_first(fo.list_datasets(), 5) or "none"
        raise click.ClickException(f"There is no dataset {name!r}; there are: {known}.")
    return fo.load_dataset(name)


def load_index(dataset: str, brain_key: str, connection: dict[str, Any]) -> Any:
    """Loads the index of a run of this package."""
    loaded = load_dataset(dataset)
    from fiftyone_redis.backend import RedisSimilarityIndex

    require_run(loaded, brain_key)
    index = loaded.load_brain_results(brain_key, cache=False, **connection)
    if index is None:
        raise click.ClickException(
            f"Creating the index {brain_key!r} was interrupted; run `fiftyone-redis create` again."
        )
    if not isinstance(index, RedisSimilarityIndex):
        raise click.ClickException(
            f"The run {brain_key!r} is not one of this package; run `fiftyone-redis enable`, or "
            f"`fiftyone-redis adopt {dataset} {brain_key}`."
        )
    return index


def require_run(dataset: Any, brain_key: str) -> None:
    """Ends the command unless a dataset has a run of Redis; the error lists those that it has."""
    keys = dataset.list_brain_runs(method="redis")
    if brain_key not in keys:
        known = list_first(keys, 5) or "none"
        raise click.ClickException(
            f"The dataset {dataset.name!r} has no Redis index {brain_key!r}; it has: {known}."
        )


@contextmanager
def telling_errors() -> Iterator[None]:
    """Tells FiftyOne's errors in one line, without a traceback."""
    from pymongo.errors import PyMongoError

    from fiftyone_redis.errors import FiftyOneRedisError

    try:
        yield
    except FiftyOneRedisError:
        raise
    except PyMongoError as error:  # its text may name a user
        raise click.ClickException(
            f"FiftyOne's database does not answer ({type(error).__name__}). {_DATABASE}"
        ) from error
    except (ImportError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
