"""Adopts runs of FiftyOne's own Redis backend, and gives them back.

Such a run is a document in FiftyOne's database, which names the classes that answer it, and an
index of JSON documents in Redis. Adopting changes the names alone; the embeddings stay where they
are.
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
from fiftyone_redis.engine.schema import FIFTYONE_ID, Schema
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError, SettingsError
from fiftyone_redis.similarity.settings import open_client
from fiftyone_redis.similarity.view_subset import SAMPLE_ID

FIFTYONE_CLS = "fiftyone.brain.internal.core.redis.RedisSimilarityConfig"
"""The class that FiftyOne's own backend saves in its runs."""

# What FiftyOne saves beside the parameters of a config's class.
_NOT_PARAMETERS = frozenset({"cls", "type", "method"})


@dataclass(frozen=True)
class Adoption:
    """What adopting a run, or restoring it, changes.

    Args:
        dataset: the dataset's name
        brain_key: the run's key
        index_name: the name of its index in Redis
        documents: how many documents the index has
        changes: what changes, in sentences; none if the run is as wanted already
        done: whether it was done, or would be
    """

    dataset: str
    brain_key: str
    index_name: str
    documents: int
    changes: tuple[str, ...]
    done: bool

    def __str__(self) -> str:
        run = f"The run {self.brain_key!r} of the dataset {self.dataset!r}"
        index = f"its index {self.index_name!r} has {self.documents} documents"
        if not self.changes:
            return f"{run} is as wanted already; {index}."
        said = "Done" if self.done else "Would be done"
        return "\n".join([f"{run}; {index}. {said}:", *(f"- {change}" for change in self.changes)])


def adopt(dataset: Any, brain_key: str, dry_run: bool = False, **connection: Any) -> Adoption:
    """Makes a run of FiftyOne's own Redis backend one of this package, without uploading again.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`, or the name of one
        brain_key: the run's key
        dry_run: whether to only say what would change
        **connection: how to reach Redis, as for :class:`RedisSimilarityConfig`; by default what
            the environment and the brain config say

    Returns:
        what was changed, or would be; it prints well

    Raises:
        SettingsError: if there is no such dataset or run, or it is of another backend
        IndexNotFoundError: if the server does not have the run's index
        IndexMismatchError: if the index is not one that FiftyOne's own backend makes
    """
    dataset = _load_dataset(dataset)
    saved = _load_run(dataset, brain_key, FIFTYONE_CLS, CONFIG_CLS)
    with _open_index(saved, connection) as index:
        count = len(index)
        if saved["cls"] == CONFIG_CLS:
            return Adoption(dataset.name, brain_key, saved["index_name"], count, (), done=True)
        _check_adoptable(index)
    if not dry_run:
        # The index tells what it is; what the run was told may differ.
        left_out = _NOT_PARAMETERS | {"metric", "algorithm"}
        config = RedisSimilarityConfig(**{k: v for k, v in saved.items() if k not in left_out})
        _save(dataset, brain_key, config)
        dataset.load_brain_results(brain_key, cache=False, **connection)
    change = f"the run is answered by {CONFIG_CLS}, no longer by {FIFTYONE_CLS}"
    return Adoption(
        dataset.name, brain_key, saved["index_name"], count, (change,), done=not dry_run
    )


def restore(dataset: Any, brain_key: str, dry_run: bool = False, **connection: Any) -> Adoption:
    """Gives a run that was adopted back to FiftyOne's own Redis backend.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`, or the name of one
        brain_key: the run's key
        dry_run: whether to only say what would change
        **connection: how to reach Redis, as for :func:`adopt`

    Returns:
        what was changed, or would be; it prints well

    Raises:
        SettingsError: if there is no such dataset or run, or it is of another backend
        IndexNotFoundError: if the server does not have the run's index
        IndexMismatchError: if the index has no JSON documents as FiftyOne's own backend makes them
    """
    dataset = _load_dataset(dataset)
    saved = _load_run(dataset, brain_key, CONFIG_CLS, FIFTYONE_CLS)
    with _open_index(saved, connection) as index:
        count, schema = len(index), index.schema
        if saved["cls"] == FIFTYONE_CLS:
            return Adoption(dataset.name, brain_key, saved["index_name"], count, (), done=True)
        _check_restorable(schema)
    changes = [f"the run is answered by {FIFTYONE_CLS}, no longer by {CONFIG_CLS}"]
    if schema.dtype != "float32":
        changes.insert(0, "the index is rebuilt with the type float32")
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
    """Returns what FiftyOne saved of a run."""
    if brain_key not in dataset.list_brain_runs():
        raise SettingsError(
            f"The dataset {dataset.name!r} has no brain run {brain_key!r}; check the key."
        )
    saved = dict(Similarity._get_run_doc(dataset, brain_key).config)
    if saved.get("cls") not in expected:
        raise SettingsError(
            f"The run {brain_key!r} is one of {saved.get('cls')}, not of FiftyOne's own Redis "
            "backend."
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
            f"The run's index {name!r} is not on this server; check which server is set, or "
            "compute the run again."
        ) from error
    finally:
        client.close()


def _check_adoptable(index: VectorIndex) -> None:
    """Raises unless an index is what FiftyOne's own backend makes."""
    schema = index.schema
    if not _is_fiftyone_index(schema):
        raise IndexMismatchError(
            f"The index {schema.name!r} is not as FiftyOne's own backend makes it: it has "
            f"{schema.storage} documents with vectors in {schema.vector_field!r}. Use it with "
            "compute_similarity(..., embeddings=False, index_name=...)."
        )


def _check_restorable(schema: Schema) -> None:
    """Raises unless FiftyOne's own backend can read the documents of an index."""
    if not _is_fiftyone_index(schema):
        raise IndexMismatchError(
            f"FiftyOne's own backend cannot read the {schema.storage} documents of the index "
            f"{schema.name!r}: they were converted, or the run was not adopted; to have that "
            "backend answer, delete the run and compute it again with it."
        )


def _is_fiftyone_index(schema: Schema) -> bool:
    """Returns whether documents are as FiftyOne's own backend makes them."""
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
    """Saves a run's config and the class of its results, and has FiftyOne forget the old ones."""
    document = Similarity._get_run_doc(dataset, brain_key)
    document.results.seek(0)
    results = json.loads(document.results.read().decode())
    results["cls"] = config.cls.replace("Config", "Index")
    document.results.delete()
    document.results.put(json.dumps(results).encode(), content_type="application/json")
    Similarity.update_run_config(dataset, brain_key, config)
    getattr(dataset, Similarity._results_cache_field()).pop(brain_key, None)
