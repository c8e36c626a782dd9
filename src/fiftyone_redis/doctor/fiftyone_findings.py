"""Checks FiftyOne, its database, and whether the indexes of its runs are on a server. Read-only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.doctor.findings import NOTE, OK, PROBLEM, WARNING, Finding, try_execute
from fiftyone_redis.doctor.runs import (
    Database,
    Run,
    group_by_index,
    is_unused,
    read_database,
)
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import FiftyOneRedisError, SettingsError, format_count, list_first

_OLDEST, _TOO_NEW = (1, 5), (2,)  # versions of FiftyOne


def check_fiftyone() -> tuple[Database | None, Finding]:
    """Checks FiftyOne's version, and whether its database answers.

    Returns:
        the database, or None if it could not be read; and the finding
    """
    try:
        installed = version("fiftyone")
    except PackageNotFoundError:
        return None, Finding("fiftyone", PROBLEM, "It is not installed.", "pip install fiftyone")
    try:
        database = read_database()
    except SettingsError as error:
        return None, Finding("fiftyone", WARNING, f"{installed}. {error}")
    except ConnectionError as error:
        text = f"{installed}. {error}, so its runs were not looked at."
        advice = "Start MongoDB, or correct FiftyOne's setting database_uri."
        return None, Finding("fiftyone", WARNING, text, advice)
    numbers = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    if not _OLDEST <= numbers < _TOO_NEW:
        text = f"{installed}, but this package needs FiftyOne 1.5 or newer, below 2."
        return database, Finding("fiftyone", WARNING, text, 'pip install "fiftyone>=1.5,<2"')
    if database is None:
        text = f"{installed}. Its database is not running, so its runs were not looked at."
        return None, Finding("fiftyone", NOTE, text, "`fiftyone-redis ls` starts it.")
    text = f"{installed}, with MongoDB {database.version} as its database."
    return database, Finding("fiftyone", OK, text)


def name_users(runs: Sequence[Run]) -> dict[str, str]:
    """Returns the runs that use each index, as text, by the name of the index."""
    users = group_by_index(runs)
    return {name: list_first([str(run) for run in using]) for name, using in users.items()}


def check_runs(client: Client, runs: Sequence[Run], most: int) -> list[Finding]:
    """Checks whether the indexes of FiftyOne's runs are on the server.

    Args:
        client: a client of the server
        runs: the runs
        most: how many of them a finding names
    """
    try:
        lost = [run for run in runs if not VectorIndex.exists(client, run.index_name)]
    except FiftyOneRedisError as error:
        return [Finding("runs", NOTE, f"The runs could not be checked ({error})")]
    unused = _find_unused(client, runs)
    empty = [run for run in lost if run.is_empty]
    lost = [run for run in lost if not run.is_empty]
    passing = [run for run in runs if not run.is_persistent and run not in lost]
    findings = [
        *_report_lost(lost, len(runs), most),
        *_report_passing(passing, most),
        *_report_unused(unused, most),
        *_report_empty(empty, most),
    ]
    return findings or [Finding("runs", OK, _describe(len(runs)))]


def _describe(count: int) -> str:
    if not count:
        return "There is none yet."
    return "The one run has its index." if count == 1 else f"All {count} runs have their indexes."


def _report_lost(lost: list[Run], count: int, most: int) -> list[Finding]:
    if not lost:
        return []
    runs = f"{len(lost)} of {format_count(count, 'run')}"
    text = f"{runs} lost the index, or it is on another server: "
    advice = (
        "`fiftyone-redis sync DATASET BRAIN_KEY` fills it again, from the model or field of the "
        "run; `fiftyone-redis drop DATASET BRAIN_KEY` deletes the run."
    )
    return [Finding("runs", WARNING, text + _list_runs(lost, most), advice)]


def _report_passing(passing: list[Run], most: int) -> list[Finding]:
    """Reports runs of datasets that FiftyOne will delete by itself, but for their indexes."""
    if not passing:
        return []
    count = len(passing)
    whose = "1 run belongs to a dataset" if count == 1 else f"{count} runs belong to datasets"
    text = f"{whose} not marked persistent: "
    text += f"{_list_runs(passing, most)} FiftyOne deletes these datasets when its database stops, "
    text += "and their indexes stay."
    advice = "Set dataset.persistent = True, or call cleanup() when an index is done with."
    return [Finding("runs", WARNING, text, advice)]


def _report_unused(names: list[str], most: int) -> list[Finding]:
    """Reports indexes that are named as FiftyOne's runs name them, but that no run uses."""
    if not names:
        return []
    text = f"Indexes that no run of this FiftyOne database uses ({len(names)}): "
    advice = (
        "Such indexes stay when a dataset or a run is deleted without cleanup(). If no other "
        "database uses them either, `fiftyone-redis prune` deletes them."
    )
    return [Finding("runs", WARNING, text + _list(names, most), advice)]


def _report_empty(empty: list[Run], most: int) -> list[Finding]:
    if not empty:
        return []
    count = "1 run was" if len(empty) == 1 else f"{len(empty)} runs were"
    text = f"{count} never filled: {_list_runs(empty, most)}"
    advice = "`fiftyone-redis sync DATASET BRAIN_KEY` fills them."
    return [Finding("runs", NOTE, text, advice)]


def _find_unused(client: Client, runs: Sequence[Run]) -> list[str]:
    names = wire.read_names(try_execute(client, *commands.names()) or ())
    users = group_by_index(runs)
    return sorted(name for name in set(map(naming.get_alias, names)) if is_unused(name, users))


def _list_runs(runs: list[Run], most: int) -> str:
    return _list([f"{run} ({run.index_name})" for run in runs], most)


def _list(names: list[str], most: int) -> str:
    more = " (`doctor --all` names all of them)" if len(names) > most else ""
    return f"{list_first(names, most)}{more}."
