"""Checks step by step whether ``backend="redis"`` will work, and advises what to fix.

Does not import FiftyOne: that is slow, and needs its database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiftyone_redis import CONFIG_CLS, brain_config, server, settings
from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.doctor import runs
from fiftyone_redis.doctor.findings import try_execute
from fiftyone_redis.doctor.redis_server import NOTE, OK, PROBLEM, WARNING, Finding, examine
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.engine.schema.options import OPTIONS
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    PrivateServerError,
    SettingsError,
    list_first,
    list_unknown,
)

__all__ = ["NOTE", "OK", "PROBLEM", "WARNING", "Finding", "diagnose", "examine", "works"]

_VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_"
_RUN_SETTINGS = (
    *("config_cls", "index_name", "vector_field", "id_field", "sample_id_field"),
    *("query_timeout", "attributes"),
)
_BACKENDS = "FIFTYONE_BRAIN_SIMILARITY_BACKENDS"


def diagnose(
    connection: Mapping[str, Any] | None = None,
    *,
    name_all: bool = False,
    more: Sequence[Callable[[], Finding]] = (),
) -> list[Finding]:
    """Checks FiftyOne's settings, the connection, the server and FiftyOne's runs.

    Read-only; starts no server.

    Args:
        connection: connection settings that take the place of the configured ones
        name_all: whether to name all runs and indexes that something is wrong with, not a few
        more: other checks, which need no server

    Returns:
        the findings, in order; stops at a problem that makes further checks pointless
    """
    findings: list[Finding] = []
    try:
        findings.append(_check_package())
        findings += [check() for check in more]
        findings += _report_sources()
        findings += _report_unknown_settings()
        wanted = settings.read({**read_configured(), **(connection or {})})
    except SettingsError as error:
        return [*findings, Finding("settings", PROBLEM, str(error))]
    try:
        client, found = _connect(wanted)
    except FiftyOneRedisError as error:
        return [*findings, Finding("connection", PROBLEM, str(error))]
    findings += found
    if client is None:
        return findings
    with closing(client):
        return [*findings, *examine(client), *_check_runs(client, name_all)]


def works(findings: list[Finding]) -> bool:
    """Returns whether the redis backend will work: whether there is no problem."""
    return all(finding.status != PROBLEM for finding in findings)


def _check_package() -> Finding:
    """Checks which class FiftyOne will load; importing this package may set the variable."""
    named = os.environ.get(f"{_VARIABLE}CONFIG_CLS", CONFIG_CLS)
    if named != CONFIG_CLS:
        text = f'backend="redis" is {named}: {_VARIABLE}CONFIG_CLS says so.'
        return Finding("package", PROBLEM, text, "Unset that variable.")
    backends = os.environ.get(_BACKENDS, "*").split(",")
    if not {"redis", "*"} & set(backends):
        text = f'{_BACKENDS} leaves "redis" out.'
        return Finding("package", PROBLEM, text, 'Add "redis" to it, or unset it.')
    path = brain_config.locate()
    shown = str(path).replace(str(Path.home()), "~", 1)
    if brain_config.is_enabled(path):
        return Finding("package", OK, f'backend="redis" is fiftyone-redis ({shown}).')
    text = f'backend="redis" is fiftyone-redis only where that is imported ({shown}).'
    return Finding("package", WARNING, text, "fiftyone-redis enable")


def read_configured() -> dict[str, Any]:
    """Reads the settings that FiftyOne will pass, unconverted; None means not set."""
    config = brain_config.redis_settings()
    values = {name: config.get(name) for name in settings.NAMES}
    for name in values:
        raw = os.environ.get(_VARIABLE + name.upper())
        if raw is not None:
            values[name] = None if raw in ("", "None") else raw
    return values


def _report_sources() -> list[Finding]:
    findings = [
        Finding("settings", OK, f"{source.name} = {source.value} ({source.origin})")
        for source in settings.sources({}, read_configured())
        if source.value is not None and source.origin != "default"
    ]
    where = f"{settings.DEFAULT_HOST}:{settings.DEFAULT_PORT}, else a private server"
    return findings or [Finding("settings", OK, f"Nothing is set: {where}.")]


def _report_unknown_settings() -> list[Finding]:
    """Reports variables and settings that nothing reads, since their names are misspelt."""
    known = {*settings.NAMES, *OPTIONS, *_RUN_SETTINGS}
    variables = [name.removeprefix(_VARIABLE) for name in os.environ if name.startswith(_VARIABLE)]
    unread = {name.lower() for name in variables} - known
    unread_keys = brain_config.redis_settings().keys() - known
    found = []
    if unread:
        text = f"Variables that nothing reads, after {_VARIABLE}: {list_unknown(unread, known)}."
        found.append(Finding("settings", WARNING, text, "Correct the names, or unset them."))
    if unread_keys:
        text = f"Settings of redis that nothing reads: {list_unknown(unread_keys, known)}."
        found.append(Finding("settings", WARNING, text, "Correct the names, or take them out."))
    return found


def _connect(wanted: settings.Parameters) -> tuple[Client | None, list[Finding]]:
    """Connects as the backend does, but starts no private server.

    Returns:
        the client, or None if a private server will be started when needed; and findings

    Raises:
        FiftyOneRedisError: if the backend could not connect either
    """
    if settings.names_server(wanted):
        return settings.open_client(wanted), []
    try:
        return settings.open_client(replace(wanted, host=settings.DEFAULT_HOST)), []
    except AuthenticationError as error:
        why = str(error)
    except ConnectionFailedError:
        why = f"Nothing answers at {settings.DEFAULT_HOST}:{settings.DEFAULT_PORT}."
    try:
        running = server.status()
        if running is not None:
            text = f"{why} The private server in {running.folder} is used."
            client = settings.open_client(settings.Parameters(url=running.url))
            return client, [Finding("connection", OK, text)]
        program = server.find_program()
    except PrivateServerError as error:
        raise ConnectionFailedError(f"{why} No private one can be used either: {error}") from error
    text = f"{why} A private server will be started when it is needed ({program.executable})."
    return None, [Finding("connection", OK, text)]


def _check_runs(client: Client, name_all: bool) -> list[Finding]:
    """Checks whether the indexes of FiftyOne's runs are on the server."""
    try:
        known = runs.find_runs()
    except SettingsError as error:
        return [Finding("runs", WARNING, str(error))]
    except ConnectionError as error:
        return [Finding("runs", WARNING, f"{error}, so its runs were not looked at.")]
    if known is None:
        text = "FiftyOne's database is not running; brain runs were not checked."
        return [Finding("runs", NOTE, text)]
    try:
        lost = [run for run in known if not VectorIndex.exists(client, run.index_name)]
    except FiftyOneRedisError as error:
        return [Finding("runs", NOTE, f"Could not be looked for ({error})")]
    most = len(known) if name_all else 3
    there = Finding("runs", OK, f"{len(known) - len(lost)} of {len(known)} have their index here.")
    passing = [run for run in known if not run.is_persistent and run not in lost]
    return [
        there,
        *_report_lost(lost, most),
        *_report_passing(passing),
        *_report_orphans(client, known),
    ]


def _report_lost(lost: list[runs.Run], most: int) -> list[Finding]:
    if not lost:
        return []
    text = f"{len(lost)} runs have no index on this server: {_list_runs(lost, most)}."
    advice = (
        "An index is made when something is added. One that was lost is made again by "
        "index.sync(), or by adding the vectors again."
    )
    return [Finding("runs", WARNING, text, advice)]


def _report_passing(passing: list[runs.Run]) -> list[Finding]:
    """Reports runs of datasets that FiftyOne will delete by itself, but for their indexes."""
    if not passing:
        return []
    text = f"{len(passing)} runs belong to datasets that are not persistent: {_list_runs(passing)}."
    text += " FiftyOne deletes these datasets when its database stops, and their indexes stay."
    advice = "Set dataset.persistent = True, or call cleanup() when an index is done with."
    return [Finding("runs", WARNING, text, advice)]


def _report_orphans(client: Client, known: list[runs.Run]) -> list[Finding]:
    """Reports indexes that are named as FiftyOne's runs name them, but that no run uses."""
    names = wire.read_names(try_execute(client, *commands.names()) or ())
    used = {naming.get_alias(run.index_name) for run in known}
    orphans = sorted({naming.get_alias(name) for name in names} - used)
    orphans = [name for name in orphans if name.startswith("fiftyone-")]
    if not orphans:
        return []
    text = f"No run of this FiftyOne database uses {len(orphans)} indexes: {list_first(orphans)}."
    advice = (
        "Such indexes stay when a dataset or a run is deleted without cleanup(). If no other "
        "database uses them either, run FT.DROPINDEX <name> DD."
    )
    return [Finding("runs", WARNING, text, advice)]


def _list_runs(found: list[runs.Run], most: int = 3) -> str:
    return list_first([f"{run.key!r} of {run.dataset!r} ({run.index_name})" for run in found], most)
