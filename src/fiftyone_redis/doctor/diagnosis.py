"""Checks step by step whether ``backend="redis"`` will work, and advises what to fix.

Does not import FiftyOne: that is slow, and starts its database.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiftyone_redis import CONFIG_CLS, brain_config, server, settings
from fiftyone_redis.connection.client import Client
from fiftyone_redis.doctor import fiftyone_findings
from fiftyone_redis.doctor.fiftyone_findings import check_runs
from fiftyone_redis.doctor.findings import MOST, sort
from fiftyone_redis.doctor.redis_server import NOTE, OK, PROBLEM, WARNING, Finding, examine
from fiftyone_redis.engine.schema.options import OPTIONS
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    PrivateServerError,
    SettingsError,
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
    *, name_all: bool = False, more: Sequence[Callable[[], Finding]] = (), **connection: Any
) -> list[Finding]:
    """Checks FiftyOne, its settings and runs, the connection and the server.

    Read-only; starts no server.

    Args:
        name_all: whether to name all runs and indexes that something is wrong with, not a few
        more: other checks, which need no server
        **connection: connection settings that take the place of the configured ones

    Returns:
        the findings, in the order of the checks, and the worst of a check first; stops at a problem
        that makes further checks pointless
    """
    return sort(_diagnose(connection, name_all, more))


def _diagnose(
    connection: dict[str, Any], name_all: bool, more: Sequence[Callable[[], Finding]]
) -> list[Finding]:
    try:
        findings = [_check_package()]
        database, found = fiftyone_findings.check_fiftyone()
        findings += [found, *(check() for check in more)]
        configured = settings.drop_replaced(read_configured(), connection)
    except SettingsError as error:
        return [Finding("settings", PROBLEM, str(error))]
    try:
        findings += _report_unknown_settings()
        wanted = settings.read({**configured, **connection})
    except SettingsError as error:
        findings.append(Finding("settings", PROBLEM, str(error)))
        return [*findings, *_report_sources(connection, configured, NOTE)]
    findings += _report_sources(connection, configured, OK)
    try:
        client, reached = _connect(wanted)
    except FiftyOneRedisError as error:
        return [*findings, Finding("connection", PROBLEM, str(error))]
    findings += reached
    if client is None:
        return findings
    runs = [] if database is None else database.runs
    with closing(client):
        findings += examine(client, fiftyone_findings.name_users(runs))
        most = sys.maxsize if name_all else MOST
        return findings + ([] if database is None else check_runs(client, runs, most))


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


def _report_sources(
    connection: dict[str, Any], configured: dict[str, Any], status: str
) -> list[Finding]:
    findings = [
        Finding("settings", status, f"{source.name} = {source.value} ({source.origin})")
        for source in settings.sources(connection, configured)
        if source.value is not None and source.origin != "default"
    ]
    where = f"{settings.DEFAULT_HOST}:{settings.DEFAULT_PORT}, else a private server"
    return findings or [Finding("settings", status, f"Nothing is set: {where}.")]


def _report_unknown_settings() -> list[Finding]:
    """Reports variables and settings that nothing reads, since their names are misspelt."""
    known = {*settings.NAMES, *OPTIONS, *_RUN_SETTINGS}
    variables = [name.removeprefix(_VARIABLE) for name in os.environ if name.startswith(_VARIABLE)]
    unread = {name.lower() for name in variables} - known
    unread_keys = brain_config.redis_settings().keys() - known
    found = []
    if unread:
        text = f"Unknown variables, after {_VARIABLE}: {list_unknown(unread, known)}."
        found.append(Finding("settings", WARNING, text, "Correct the names, or unset them."))
    if unread_keys:
        text = f"Unknown settings in the brain config: {list_unknown(unread_keys, known)}."
        found.append(Finding("settings", WARNING, text, "Correct the names, or remove them."))
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
    except AuthenticationError:
        raise  # a server answered, so the backend uses no private one
    except ConnectionFailedError:
        where = f"nothing answers at {settings.DEFAULT_HOST}:{settings.DEFAULT_PORT}"
    try:
        running = server.status()
        if running is not None:
            text = f"The private server in {running.folder} is used, since {where}."
            client = settings.open_client(settings.Parameters(url=running.url))
            return client, [Finding("connection", OK, text)]
        program = server.find_program()
    except PrivateServerError as error:
        raise ConnectionFailedError(
            f"{where.capitalize()}, and no private server can be used: {error}"
        ) from error
    text = "A private server will be started when it is needed, since "
    return None, [Finding("connection", OK, f"{text}{where} ({program.executable}).")]
