"""Reads brain runs from FiftyOne's database without importing FiftyOne.

Importing FiftyOne takes seconds, and starts its database. This module queries the database only if
it is running.
"""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pymongo
from pymongo.errors import PyMongoError

from fiftyone_redis.config_files import fiftyone_config
from fiftyone_redis.connection.naming import get_alias

_WAIT_MS = 2000
_GENERATED = "fiftyone-"  # names of indexes that users did not choose begin so


@dataclass(frozen=True)
class Run:
    """A similarity run of the redis backend.

    Args:
        dataset: the name of its dataset
        key: its brain key
        index_name: the name of its index
        is_persistent: whether FiftyOne keeps the dataset when its database stops
        is_empty: whether nothing was ever added, so that there is no index yet
    """

    dataset: str
    key: str
    index_name: str
    is_persistent: bool = True
    is_empty: bool = False

    def __str__(self) -> str:
        return f"{self.dataset}/{self.key}"


@dataclass(frozen=True)
class Database:
    """FiftyOne's database.

    Args:
        version: the version of MongoDB
        runs: the runs of the redis backend, sorted
    """

    version: str
    runs: list[Run]


def find_runs() -> list[Run] | None:
    """Reads the runs of the redis backend, sorted; see :func:`read_database`."""
    database = read_database()
    return None if database is None else database.runs


def group_by_index(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Returns the runs that use each index, by its name."""
    users: dict[str, list[Run]] = {}
    for run in runs:
        users.setdefault(get_alias(run.index_name), []).append(run)
    return users


def is_unused(name: str, users: Container[str]) -> bool:
    """Returns whether an index was made for a run, and no run uses it.

    Args:
        name: its name, an alias
        users: the names of the indexes that runs use
    """
    return name.startswith(_GENERATED) and name not in users


def read_database() -> Database | None:
    """Reads FiftyOne's database; None if it is not running.

    Raises:
        ConnectionError: if the configured database does not answer; the message has no credentials
        SettingsError: if FiftyOne's config cannot be read
    """
    config = fiftyone_config()
    uri = (
        os.environ.get("FIFTYONE_DATABASE_URI")
        or config.get("database_uri")
        or _find_own_uri(config)
    )
    if uri is None:
        return None
    name = os.environ.get("FIFTYONE_DATABASE_NAME") or config.get("database_name") or "fiftyone"
    try:
        with pymongo.MongoClient(uri, serverSelectionTimeoutMS=_WAIT_MS) as client:
            return Database(client.server_info()["version"], _read_runs(client[name]))
    except (PyMongoError, ValueError) as error:
        # No chain: the URI may hold a password.
        raise ConnectionError(
            f"FiftyOne's database does not answer ({type(error).__name__})"
        ) from None


def _read_runs(database: Any) -> list[Run]:
    wanted = {"config.method": "redis", "config.type": "similarity"}
    fields = ("key", "_dataset_id", "config.index_name", "config.is_empty")
    runs = list(database["runs"].find(wanted, fields))
    ids = [run.get("_dataset_id") for run in runs]
    datasets = database["datasets"].find({"_id": {"$in": ids}}, {"name": 1, "persistent": 1})
    known = {dataset["_id"]: dataset for dataset in datasets}
    found = [
        Run(
            dataset["name"],
            run["key"],
            run["config"]["index_name"],
            bool(dataset.get("persistent", True)),
            bool(run["config"].get("is_empty")),
        )
        for run in runs
        if (dataset := known.get(run.get("_dataset_id"))) and run["config"].get("index_name")
    ]
    return sorted(found, key=lambda run: (run.dataset, run.key))


def _find_own_uri(config: dict[str, Any]) -> str | None:
    """Returns the URI of the database that FiftyOne started, if it is running."""
    named = os.environ.get("FIFTYONE_DATABASE_DIR") or config.get("database_dir")
    folder = Path(named) if named else Path.home() / ".fiftyone" / "var" / "lib" / "mongo"
    try:
        # mongod writes its process id there, and empties the file when it ends.
        process = psutil.Process(int((folder / "mongod.lock").read_text()))
        # Its name changed with psutil 6.
        connections = getattr(process, "net_connections", None) or process.connections
        sockets = connections(kind="tcp")
    except (OSError, ValueError, psutil.Error):
        return None
    ports = [s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN]
    return f"mongodb://127.0.0.1:{ports[0]}" if ports and "mongod" in process.name() else None
