"""Makes an index from the vectors of another run, of any backend, without embedding again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any

import fiftyone.brain as fob
import numpy as np

from fiftyone_redis.app import brain_keys
from fiftyone_redis.app.progress import Report, count_progress
from fiftyone_redis.backend import RedisSimilarityIndex
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.dataset_ids import list_ids
from fiftyone_redis.similarity.sync import SyncResult

_BATCH = 5000  # vectors that are in memory together, if the other run is in Redis too


def list_sources(dataset: Any, patches_field: str | None) -> dict[str, Any]:
    """Returns the configs of the similarity runs of samples or patches, by brain key."""
    keys = dataset.list_brain_runs(type=fob.Similarity)
    configs = {key: dataset.get_brain_info(key).config for key in keys}
    return {key: c for key, c in configs.items() if c.patches_field == patches_field}


def describe_backend(config: Any) -> str:
    """Returns the name of the backend of a run, such as ``"sklearn"``."""
    return str(getattr(config, "method", None) or "unknown backend")


def list_other_backends(dataset: Any) -> dict[str, str]:
    """Returns the similarity runs of other backends, and the names of these."""
    found = {}
    for key in dataset.list_brain_runs(type=fob.Similarity):
        backend = describe_backend(dataset.get_brain_info(key).config)
        if backend != "redis":
            found[key] = backend
    return found


def find_metric(config: Any) -> str | None:
    """Returns the metric of a run if there is the same one here."""
    metric = getattr(config, "metric", None)
    return metric if metric in METRICS else None


def copy(
    samples: Any, brain_key: str, source: str, *, settings: dict[str, Any], report: Report
) -> tuple[Any, SyncResult]:
    """Creates an index with the vectors of another run.

    Its model or field is that of the run, so what is missing later can be embedded.

    Args:
        samples: the dataset or view whose samples or patches are to be indexed
        brain_key: the key of the new run
        source: the key of the other run
        settings: keywords of :class:`~fiftyone_redis.backend.RedisSimilarityConfig`
        report: called with the progress

    Returns:
        the index, and what was added

    Raises:
        InputError: if the other run cannot be read, or has no vectors of these samples
        FiftyOneRedisError: if the server refuses
    """
    dataset = samples._root_dataset
    if problem := brain_keys.find_problem(dataset, brain_key):
        raise InputError(problem)
    report(0, f"Reading {source}")
    other = _load(dataset, source)
    wanted = list_ids(samples, other.config.patches_field)
    batches = _read(other, wanted)
    first = next(batches, None)
    if first is None:
        raise InputError(f"The run {source!r} has no vector of these samples; nothing was created.")
    index = _create(dataset, brain_key, other.config, settings)
    progress = count_progress(report, len(wanted), "Copied")
    done = _add_batches(index, chain([first], batches), progress)
    dataset.clear_cache()  # what is loaded anew has the model
    without = [id for id in wanted if id not in done]
    return dataset.load_brain_results(brain_key), SyncResult([*done], without_vector=without)


def _add_batches(
    index: Any, batches: Iterable[tuple[Any, Any, Any]], progress: Progress
) -> set[str]:
    """Adds vectors, sample ids and label ids; deletes the run if it fails before the first batch.

    Returns:
        the ids that were added
    """
    done: set[str] = set()
    with ExitStack() as undo:
        undo.callback(index.samples._root_dataset.delete_brain_run, index.key)
        undo.callback(index.cleanup)
        for vectors, sample_ids, label_ids in batches:
            index.add_to_index(vectors, sample_ids, label_ids, reload=False, progress=False)
            undo.pop_all()
            done.update(map(str, sample_ids if label_ids is None else label_ids))
            progress(len(vectors))
    return done


def _create(dataset: Any, brain_key: str, config: Any, settings: dict[str, Any]) -> Any:
    """Creates an empty index whose model and field are those of another run."""
    index = fob.compute_similarity(
        dataset,
        embeddings=False,
        brain_key=brain_key,
        backend="redis",
        patches_field=config.patches_field,
        **settings,
    )
    # FiftyOne would load a model that it is given.
    for name in ("model", "model_kwargs", "embeddings_field", "supports_prompts"):
        setattr(index.config, name, getattr(config, name, None))
    return index


def _load(dataset: Any, brain_key: str) -> Any:
    try:
        other = dataset.load_brain_results(brain_key)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"The run {brain_key!r} cannot be loaded here ({error}).") from error
    if other is None:
        raise InputError(f"The run {brain_key!r} has no results; choose another one.")
    return other


def _read(other: Any, wanted: list[str]) -> Iterator[tuple[Any, Any, Any]]:
    """Yields vectors, sample ids and label ids of a run, in batches."""
    if isinstance(other, RedisSimilarityIndex):
        is_of_samples = other.config.patches_field is None
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            found = other.get_embeddings(*([batch] if is_of_samples else [None, batch]))
            if len(found[0]):
                yield found
        return
    # Other backends do not say which of the ids that they are asked for they lack.
    vectors, sample_ids, label_ids = other.get_embeddings()
    ids = np.asarray(sample_ids if label_ids is None else label_ids)
    rows = np.flatnonzero(np.isin(ids, np.array(wanted, dtype=str)))
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        labels = None if label_ids is None else np.asarray(label_ids)[some]
        yield np.asarray(vectors)[some], np.asarray(sample_ids)[some], labels
