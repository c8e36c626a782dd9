"""The work of the operators that manage indexes, and the choices in their forms."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.core.labels as fol

from fiftyone_redis.app import brain_keys, cache, indexes
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.app.progress import Report, count_progress, follow_bar
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES
from fiftyone_redis.errors import (
    ConnectionFailedError,
    IndexInUseError,
    InputError,
    ServerStoppedError,
)
from fiftyone_redis.similarity import models, sharing, sync
from fiftyone_redis.similarity.comparison import difference
from fiftyone_redis.similarity.dataset_ids import list_ids
from fiftyone_redis.similarity.index_users import IndexUser, find_run_id, find_users

_USUAL_MODEL = "clip-vit-base32-torch"
_PATCHES = (fol.Detection, fol.Detections, fol.Polyline, fol.Polylines)


def list_patches_fields(dataset: Any) -> list[str]:
    """Returns the label fields of a dataset whose patches can be indexed."""
    fields = dataset.get_field_schema(embedded_doc_type=_PATCHES)
    return list(fields)


def list_vector_fields(dataset: Any, patches_field: str | None) -> list[str]:
    """Returns the fields that may hold vectors: of samples, or of a field's labels."""
    kinds = (fo.VectorField, fo.ArrayField)
    if patches_field is None:
        return list(dataset.get_field_schema(ftype=kinds))
    _, root = dataset._get_label_field_path(patches_field)
    schema = dataset.get_field_schema(ftype=kinds, flat=True)
    paths = [path for path in schema if path.startswith(f"{root}.")]
    return [path[len(root) + 1 :] for path in paths]


def choose_default_model(dataset: Any) -> str:
    """Returns the model of another index of the dataset, or else CLIP."""
    named = [config.model for config in indexes.list_runs(dataset).values() if config.model]
    return named[-1] if named else _USUAL_MODEL


def describe_source(index: Any) -> str | None:
    """Describes where the vectors of an index come from; None if unknown."""
    if index.config.embeddings_field is not None:
        return f"the field {index.config.embeddings_field}"
    return None if index.config.model is None else f"the model {index.config.model}"


def fetch_schema(index: Any) -> Schema:
    """Connects and reads the schema of an index."""
    client = indexes.open_client()
    try:
        found: Schema = index.config.open_index(client).schema
    finally:
        client.close()
    return found


def fetch_summaries(dataset: Any) -> list[indexes.IndexSummary]:
    """Connects and describes the indexes of a dataset; empty if the server does not answer.

    Raises:
        ServerStoppedError: if the private server is stopped
        FiftyOneRedisError: if the server cannot be used
    """
    try:
        client = indexes.open_client()
    except ServerStoppedError:
        raise  # what is done next would start it
    except ConnectionFailedError:
        return []
    try:
        return indexes.fetch_summaries(dataset, client)
    finally:
        client.close()


def fetch_capabilities() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Connects and returns the supported algorithms and types; all if no server answers."""
    try:
        client = indexes.open_client()
    except ConnectionFailedError:
        return ALGORITHMS, tuple(DTYPES)
    try:
        found = client.get_capabilities()
    finally:
        client.close()
    return found.algorithms, found.dtypes


def create(
    samples: Any,
    brain_key: str,
    settings: Mapping[str, Any],
    report: Report,
    batch_size: int | None = None,
) -> tuple[Any, sync.SyncResult]:
    """Creates an index and fills it; returns it and what was added.

    If it is stopped, the index keeps what it has; without a vector, nothing is left.

    Args:
        samples: the dataset or view whose samples or patches are to be indexed
        brain_key: the key of the new run
        settings: keywords of ``compute_similarity()``, with ``model`` or ``embeddings_field``
        report: called with the progress
        batch_size (None): how many samples the model takes at once

    Raises:
        InputError: if there is nothing to index; the run is deleted then
        FiftyOneRedisError: if the server refuses
    """
    dataset, model = samples._root_dataset, settings.get("model")
    if problem := brain_keys.find_problem(dataset, brain_key):
        raise InputError(problem)
    report(0, "Loading the model" if model else "Creating the index")
    with models.loading(model or ""):
        index = fob.compute_similarity(
            dataset, embeddings=False, brain_key=brain_key, backend="redis", **settings
        )
    with ExitStack() as undo:
        undo.callback(_drop_if_empty, dataset, brain_key, index)
        done = add(index, None, report, None if samples is dataset else samples, batch_size)
        _refuse_empty(index)
        undo.pop_all()
    return index, done


def _drop_if_empty(dataset: Any, brain_key: str, index: Any) -> None:
    if not index.total_index_size:
        drop(dataset, brain_key)


def _refuse_empty(index: Any) -> None:
    if not index.total_index_size:
        raise InputError(
            "There is nothing to index: no sample has a vector. Check the field, or that the model "
            "can read the media files."
        )


def add(
    index: Any,
    field: str | None,
    report: Report,
    within: Any = None,
    batch_size: int | None = None,
) -> sync.SyncResult:
    """Adds the missing vectors to an index, and replaces those of files or boxes that changed.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        field: the field that holds the vectors; None for the index's own field or model
        report: called with the progress
        within (None): the view whose samples or patches are to be added; all by default
        batch_size (None): how many samples the model takes at once
    """
    report(0, "Looking for missing samples")
    options: dict[str, Any] = {"skip_failures": True, "batch_size": batch_size}
    try:
        if within is not None:
            found = difference(index)
            found = found.restrict(list_ids(within, index.config.patches_field))
            progress = count_progress(report, len(found.missing), "Indexed")
            without = sync.add_missing(index, found, field, progress, **options)
            failed = set(without)
            added = [id for id in found.missing if id not in failed]
            return sync.SyncResult(added, without_vector=without)
        return sync.sync(
            index,
            progress=follow_bar(report, "Indexed"),
            removes=False,  # which the form has not asked for
            field=field,
            **options,
        )
    finally:
        cache.clear()


def remove(index: Any, report: Report, force: bool = False) -> int:
    """Removes ids that no dataset has which uses the index, and returns how many there were.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        report: called with the progress
        force (False): whether to remove them from an index that other runs use, too

    Raises:
        IndexInUseError: if other runs use the index, unless forced
        FiftyOneRedisError: if the server refuses
    """
    report(0, "Looking for stale vectors")
    found = difference(index)
    if found.gone and not force:
        sharing.refuse_if_shared(index, "Agree to the removal for all of them.")
    count = sync.remove_gone(index, found)
    cache.clear()
    return count


def find_others(dataset: Any, brain_key: str) -> list[IndexUser]:
    """Returns the other runs, of this dataset and others, that use the index of a run.

    Raises:
        FiftyOneRedisError: if the server or the index cannot be used
    """
    index = dataset.load_brain_results(brain_key)
    if index is not None:
        index.find_index()  # runs may use it by another name, which it tells
        return sharing.find_others(index)
    index_name = dataset.get_brain_info(brain_key).config.index_name
    run = find_run_id(dataset._doc, brain_key)
    return [user for user in find_users(index_name) if user.run != run]


def drop(dataset: Any, brain_key: str, force: bool = False, forget: bool = False) -> bool:
    """Deletes an index and its run.

    An index that other runs use stays for them.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        brain_key: the key of the run
        force (False): whether to delete an index that other runs use, too
        forget (False): whether to delete the run alone, even if the index could be deleted by now

    Returns:
        whether the vectors remain on the server: the run alone was to be deleted, the server does
        not answer, or others use them

    Raises:
        InputError: if the dataset has no such run
        FiftyOneRedisError: if the server refuses
    """
    if brain_key not in indexes.list_runs(dataset):
        raise InputError(f"The dataset has no Redis index {brain_key!r}; refresh the panel.")
    left = forget
    try:
        index = None if forget else dataset.load_brain_results(brain_key)
        if index is not None:  # None: creating it was interrupted
            index.cleanup(force=force)
    except (ConnectionFailedError, IndexInUseError):
        left = True
    dataset.delete_brain_run(brain_key)
    cache.clear()
    return left


def fetch_distances(index: Any) -> Distances:
    """Connects and returns nearest-neighbour distances; see :func:`cache.cached_distances`."""
    with closing(indexes.open_client()) as client:
        return cache.cached_distances(index, index.config.open_index(client))


def measure_distances(index: Any, report: Report) -> Distances:
    """Connects and measures the rest of the distances; see :func:`cache.measure_rest`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        report: called with the progress
    """

    def tell(found: Distances) -> None:
        done = len(found.values)
        total = done + len(found.rest)
        report(done / total, f"Measured {done:,} of {total:,}")

    with closing(indexes.open_client()) as client:
        return cache.measure_rest(index, index.config.open_index(client), tell)
