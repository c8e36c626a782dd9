"""The brain runs that use an index, as FiftyOne's database knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId

from fiftyone_redis import CONFIG_CLS
from fiftyone_redis.errors import IndexInUseError, list_first

_SIMILARITY = {"config.method": "redis", "config.type": "similarity"}
_READ = {"key": 1, "_dataset_id": 1, "config": 1, "results": 1}


@dataclass(frozen=True)
class IndexUser:
    """A brain run that uses an index: of this package, version 0.1.0 or FiftyOne's own backend.

    Args:
        run: the id of the run's document; those of older runs are smaller
        dataset: the name of its dataset
        brain_key: its key
        cls: the class of its config
        patches_field: the field whose patches it indexes; None for samples
        is_finished: whether its results were saved
    """

    run: ObjectId
    dataset: str
    brain_key: str
    cls: str
    patches_field: str | None
    is_finished: bool

    @property
    def is_ours(self) -> bool:
        """Whether the run belongs to this package."""
        return self.cls == CONFIG_CLS

    def __str__(self) -> str:
        return f"{self.brain_key!r} of the dataset {self.dataset!r}"


def find_users(*index_names: str) -> list[IndexUser]:
    """Returns the brain runs that use an index, in all datasets, the oldest first.

    Args:
        *index_names: the names of the index
    """
    database = foo.get_db_conn()
    wanted = {"config.index_name": {"$in": list(index_names)}, **_SIMILARITY}
    runs = list(database["runs"].find(wanted, _READ).sort("_id"))
    if not runs:
        return []
    ids = {"_id": {"$in": [run.get("_dataset_id") for run in runs]}}
    datasets = database["datasets"].find(ids, {"name": 1, "brain_methods": 1})
    # A run without a reference to it is left over: no dataset has it any more.
    names = {
        getattr(reference, "id", reference): dataset["name"]
        for dataset in datasets
        for reference in (dataset.get("brain_methods") or {}).values()
    }
    return [
        IndexUser(
            run["_id"],
            names[run["_id"]],
            run["key"],
            run["config"].get("cls", ""),
            run["config"].get("patches_field"),
            is_finished=run.get("results") is not None,
        )
        for run in runs
        if run["_id"] in names
    ]


def find_run_id(dataset_doc: Any, key: str | None) -> ObjectId | None:
    """Returns the id of a run's document; None if the run is not registered.

    Args:
        dataset_doc: the document of the dataset
        key: the brain key
    """
    return getattr(dataset_doc.brain_methods.get(key), "id", None)


def refuse_others(index_name: str, others: Sequence[IndexUser], advice: str) -> None:
    """Raises if other runs use an index.

    Args:
        index_name: its name
        others: these runs
        advice: what to do instead

    Raises:
        IndexInUseError: if there are any
    """
    if others:
        raise IndexInUseError(
            f"The index {index_name!r} is also used by {list_others(others)}. {advice}"
        )


def list_others(others: Sequence[IndexUser]) -> str:
    """Lists the first few runs, and counts the rest."""
    runs = "the run" if len(others) == 1 else "the runs"
    return f"{runs} {list_first([str(other) for other in others])}"
