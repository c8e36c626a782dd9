"""Adopts runs of FiftyOne's own Redis backend, and restores them.

Such a run consists of a document in FiftyOne's database, which names its classes, and an index of
JSON documents in Redis. Adopting a run only changes the names of its classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import fiftyone as fo
from fiftyone.brain.similarity import Similarity

from fiftyone_redis import CONFIG_CLS
from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.schema.schema import FIFTYONE_ID, Schema
from fiftyone_redis.errors import (
    IndexMismatchError,
    IndexNotFoundError,
    SettingsError,
    format_count,
)
from fiftyone_redis.settings import open_client
from fiftyone_redis.similarity.view_subset import SAMPLE_ID

FIFTYONE_CLS = "fiftyone.brain.internal.core.redis.RedisSimilarityConfig"
"""The class that FiftyOne's own backend saves in its runs."""

# Keys that FiftyOne saves besides the parameters of a config.
_NOT_PARAMETERS = frozenset({"cls", "type", "method"})


@dataclass(frozen=True)
class Adoption:
    """The changes of adopting or restoring a run.

    Args:
        dataset: the dataset's name
        brain_key: the run's key
        index_name: the name of its index in Redis
        documents: the number of documents in the index
        changes: descriptions of the changes; empty if there is nothing to change
        done: whether the changes were made; False after a dry run
    """

    dataset: str
    brain_key: str
    index_name: str
    documents: int
    changes: tuple[str, ...]
    done: bool

    def __str__(self) -> str:
        run = f"The run {self.brain_key!r} of the dataset {self.dataset!r}"
        index = f"its index {self.index_name!r} has {format_count(self.documents, 'document')}"
        if not self.changes:
            return f"{run} needs no change; {index}."
        heading = "Changed" if self.done else "Would change"
        return "\n".join(
            [f"{run}; {index}. {heading}:", *(f"- {change}" for change in self.changes)]
        )


def adopt(dataset: Any, brain_key: str, dry_run: bool = False, **connection: Any) -> Adoption:
    """Makes this package answer a run of FiftyOne's own Redis backend, without a new upload.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`, or the name of one
        brain_key: the run's key
        dry_run: whether to only describe the changes
        **connection: connection settings, as for :class:`RedisSimilarityConfig`; by default
            those of the environment and the brain config

    Returns:
        the changes; ``print()`` shows them as text

    Raises:
        SettingsError: if there is no such dataset or run, or the run has another backend
        IndexNotFoundError: if the server does not have the run's index
        IndexMismatchError: if FiftyOne's own backend did not create the index
    """
    dataset = _load_dataset(dataset)
    saved = _load_run(dataset, brain_key, FIFTYONE_CLS, CONFIG_CLS)
    with _open_index(saved, connection) as index:
        count = len(index)
        if saved["cls"] == CONFIG_CLS:
            return Adoption(dataset.name, brain_key, saved["index_name"], count, (), done=True)
        _check_adoptable(index)
    if not dry_run:
        # The index itself has the true settings; those saved in the run may differ.
        left_out = _NOT_PARAMETERS | {"metric", "algorithm"}
        config = RedisSimilarityConfig(**{k: v for k, v in saved.items() if k not in left_out})
        _save(dataset, brain_key, config)
        dataset.load_brain_results(brain_key, cache=False, **connection)
    change = f"the class of the run becomes {CONFIG_CLS}, instead of {FIFTYONE_CLS}"
    return Adoption(
        dataset.name, brain_key, saved["index_name"], count, (change,), done=not dry_run
    )


def restore(dataset: Any, brain_key: str, dry_run: bool = False, **connection: Any) -> Adoption:
    """Makes FiftyOne's own Redis backend answer an adopted run again.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`, or the name of one
        brain_key: the run's key
        dry_run: whether to only describe the changes
        **connection: connection settings, as for :func:`adopt`

    Returns:
        the changes; ``print()`` shows them as text

    Raises:
        SettingsError: if there is no such dataset or run, or the run has another backend
        IndexNotFoundError: if the server does not have the run's index
        IndexMismatchError: if FiftyOne's own backend cannot read the documents of the index
    """
    dataset = _load_dataset(dataset)
    saved = _load_run(dataset, brain_key, CONFIG_CLS, FIFTYONE_CLS)
    with _open_index(saved, connection) as index:
        count, schema = len(index), index.schema
        if saved["cls"] == FIFTYONE_CLS:
            return Adoption(dataset.name, brain_key, saved["index_name"], count, (), done=True)
        _check_restorable(schema)
    changes = [f"the class of the run becomes {FIFTYONE_CLS}, instead of {CONFIG_CLS}"]
    if schema.dtype != "float32":
        changes.insert(0, "the index is rebuilt with dtype='float32'")
    if not dry_run:
        if schema.dtype != "float32":
            results = dataset.load_brain_results(brain_key, cache=False, **connection)
            results.rebuild(dtype="float32")
        _save(dataset, brain_key, _fiftyone_config(saved, schema))
    return Adoption(
        dataset.name, brain_key, saved["index_name"], count, tuple(changes), done=not dry_run
    )


def _load_dataset(dataset: Any) -> Any:
    if not isinstance(dataset, str):
        return dataset._root_dataset
    if not fo.dataset_exists(dataset):
        raise SettingsError(f"There is no dataset {dataset!r}; check its name.")
    return fo.load_dataset(dataset)


def _load_run(dataset: Any, brain_key: str, *expected: str) -> dict[str, Any]:
    """Returns the config that FiftyOne saved for a run."""
    if brain_key not in dataset.list_brain_runs():
        raise SettingsError(
            f"The dataset {dataset.name!r} has no brain run {brain_key!r}; check the key."
        )
    saved = dict(Similarity._get_run_doc(dataset, brain_key).config)
    if saved.get("cls") not in expected:
        raise SettingsError(
            f"The run {brain_key!r} belongs to {saved.get('cls')}, not to FiftyOne's own Redis "
            "backend; docs/how-to/move.md says how to copy the vectors of other backends."
        )
    return saved


@contextmanager
def _open_index(saved: dict[str, Any], connection: dict[str, Any]) -> Iterator[VectorIndex]:
    config = RedisSimilarityConfig()
    config.load_credentials(**connection)
    name = saved["index_name"]
    client = open_client(config.connection)
    try:
        yield VectorIndex.open(client, name)
    except IndexNotFoundError as error:
        raise IndexNotFoundError(
            f"The run's index {name!r} is not on this server; check the connection settings, or "
            "compute the run again."
        ) from error
    finally:
        client.close()


def _check_adoptable(index: VectorIndex) -> None:
    """Raises unless FiftyOne's own backend created an index."""
    schema = index.schema
    if not _is_fiftyone_index(schema):
        raise IndexMismatchError(
            f"FiftyOne's own backend did not create the index {schema.name!r}: it has "
            f"{schema.storage} documents with vectors in {schema.vector_field!r}. Use it with "
            "compute_similarity(..., embeddings=False, index_name=...)."
        )


def _check_restorable(schema: Schema) -> None:
    """Raises unless FiftyOne's own backend can read the documents of an index."""
    if not _is_fiftyone_index(schema):
        raise IndexMismatchError(
            f"FiftyOne's own backend cannot read the {schema.storage} documents of the index "
            f"{schema.name!r}: they were converted, or the run was never adopted; to use that "
            "backend, delete the run and compute it again."
        )


def _is_fiftyone_index(schema: Schema) -> bool:
    """Returns whether the documents have the format of FiftyOne's own backend."""
    return (
        schema.storage == "JSON"
        and schema.id_field == FIFTYONE_ID
        and SAMPLE_ID in schema.tags
        and schema.vector_field == "$.vector"
    )


def _fiftyone_config(saved: dict[str, Any], schema: Schema) -> Any:
    """Returns the config that FiftyOne's own backend would have saved."""
    module, _, name = FIFTYONE_CLS.rpartition(".")
    kind = getattr(import_module(module), name)
    known = kind().serialize().keys() - _NOT_PARAMETERS
    values = {name: value for name, value in saved.items() if name in known}
    return kind(**{**values, "metric": schema.metric, "algorithm": schema.algorithm})


def _save(dataset: Any, brain_key: str, config: Any) -> None:
    """Saves a run's config and the class of its results, and clears FiftyOne's cache of them."""
    document = Similarity._get_run_doc(dataset, brain_key)
    document.results.seek(0)
    results = json.loads(document.results.read().decode())
    results["cls"] = config.cls.replace("Config", "Index")
    document.results.delete()
    document.results.put(json.dumps(results).encode(), content_type="application/json")
    Similarity.update_run_config(dataset, brain_key, config)
    getattr(dataset, Similarity._results_cache_field()).pop(brain_key, None)
