"""Embeds samples or patches in batches, and uploads each batch while the next one is embedded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.dataset_ids import select_all_slices
from fiftyone_redis.similarity.models import load_model

Progress = Callable[[int], None]

_BATCH = 512  # samples that are embedded and uploaded together, so at most lost together
_FIRST_BATCH = 16
_SECONDS = 1.0  # that a batch should take, so that the work can be watched and stopped


def embed_and_add(
    index: Any,
    wanted: Mapping[str, str],
    field: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[str]:
    """Embeds samples or patches and adds them to an index.

    If it is interrupted, what was embedded before the current batch is in the index.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        wanted: the id of the sample of each sample or patch
        field (None): the field of the samples or labels that holds the vectors; by default the
            index's embeddings field, or else its model
        progress (None): called with the number of samples or patches done since the last call,
            about once a second; what it raises ends the work
        **options: ``batch_size``, ``num_workers`` and ``skip_failures``, as for
            :meth:`fiftyone.brain.similarity.SimilarityIndex.compute_embeddings`

    Returns:
        the ids without a vector: the field is empty, or the model failed

    Raises:
        InputError: if the index has neither a field nor a model, or a vector does not fit
        FiftyOneRedisError: if the server refuses the vectors
    """
    field = field or index.config.embeddings_field
    if not wanted:
        return []
    require_source(index, field)
    without = _upload_each(index, _embed_batches(index, wanted, field, options), progress)
    index.reload()
    return without


def _upload_each(
    index: Any,
    batches: Iterable[tuple[dict[str, Any], dict[str, str]]],
    progress: Progress | None,
) -> list[str]:
    """Adds each batch while the next one is embedded; returns the ids without a vector."""
    without: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        upload: Future[None] | None = None
        for vectors, owners in batches:
            without += [id for id in owners if id not in vectors]
            if upload is not None:
                upload.result()
            upload = pool.submit(_add, index, vectors, owners)
            if progress is not None:
                progress(len(owners))
        if upload is not None:
            upload.result()
    return without


def _embed_batches(
    index: Any, wanted: Mapping[str, str], field: str | None, options: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yields the vectors of a batch by id, and all ids of the batch with their samples."""
    samples = select_all_slices(index.samples)
    for sample_ids, owners in _make_batches(wanted):
        view = samples.select(sample_ids)
        vectors = read_field(index, view, field) if field else _embed(index, view, owners, options)
        yield {id: value for id, value in vectors.items() if id in owners}, owners


def require_source(index: Any, field: str | None = None) -> None:
    """Raises an :class:`InputError` unless a field or a model gives vectors; loads the model."""
    if field or index.config.embeddings_field:
        return
    if index.config.model is None:
        raise InputError(
            "This index has neither an embeddings field nor a model to get vectors from: a program "
            "added its vectors. Name a field, or call index.add_to_index()."
        )
    load_model(index)


def _add(index: Any, vectors: Mapping[str, Any], owners: Mapping[str, str]) -> None:
    if not vectors:
        return
    named = {"label_ids": list(vectors)} if index.config.patches_field else {}
    matrix = np.stack(list(vectors.values()))
    samples = [owners[id] for id in vectors]
    index.add_to_index(matrix, samples, **named, reload=False, progress=False)


def _make_batches(wanted: Mapping[str, str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yields batches: sample ids, and the wanted ids of these samples with their samples."""
    ids_of: dict[str, list[str]] = {}
    for id, sample_id in wanted.items():
        ids_of.setdefault(sample_id, []).append(id)
    everyone, start, size = list(ids_of), 0, min(_FIRST_BATCH, _BATCH)
    while start < len(everyone):
        began = time.monotonic()
        batch = everyone[start : start + size]
        yield batch, {id: sample_id for sample_id in batch for id in ids_of[sample_id]}
        start += size
        took = max(time.monotonic() - began, 1e-6)
        size = min(_BATCH, max(1, int(size * _SECONDS / took)))


def read_field(index: Any, view: Any, field: str) -> dict[str, Any]:
    """Returns the vectors in a field, by id."""
    patches_field = index.config.patches_field
    if patches_field is None:
        ids, values = view.values(["id", field])
        return {id: value for id, value in zip(ids, values, strict=True) if value is not None}
    paths = [view._get_label_field_path(patches_field, name)[1] for name in ("id", field)]
    found: dict[str, Any] = {}
    for labels, vectors in zip(*view.values(paths), strict=True):
        single = isinstance(labels, str)
        columns = ([labels], [vectors]) if single else (labels or (), vectors or ())
        pairs = zip(*columns, strict=True)
        found |= {id: value for id, value in pairs if value is not None}
    return found


def _embed(
    index: Any, view: Any, owners: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Embeds with the index's model; returns the vectors by id."""
    patches_field = index.config.patches_field
    if patches_field is not None:
        view = view.select_labels(ids=list(owners), fields=patches_field)
    vectors, samples, labels = index.compute_embeddings(view, progress=False, **options)
    if vectors is None or not len(vectors):
        return {}
    ids = map(str, samples if labels is None else labels)
    return {id: value for id, value in zip(ids, vectors, strict=True) if value is not None}
