"""Keeps an index in sync with its dataset: adds missing embeddings, removes stale ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiftyone_redis.errors import FiftyOneRedisError, InputError, list_first
from fiftyone_redis.similarity.dataset_ids import iterate_ids, select_all_slices

Progress = Callable[[int], None]

_BATCH = 512  # samples per batch


@dataclass(frozen=True)
class Difference:
    """How an index differs from its dataset. The id of a patch is that of its label.

    Args:
        missing: the ids of the samples or patches that the index lacks
        samples: the sample id of each of these
        gone: the ids in the index that are in no dataset that uses it
        indexed: the number of ids in the index
    """

    missing: list[str]
    samples: list[str]
    gone: list[str]
    indexed: int


def difference(index: Any) -> Difference:
    """Compares the ids of an index with those of its dataset.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    # Redis is read first, so that a concurrent addition counts as missing, never as gone.
    index.reload()
    patches = index.config.patches_field is not None
    indexed = dict.fromkeys((index.label_ids if patches else index.sample_ids).tolist())
    missing, samples = [], []
    for sample_id, id in iterate_ids(index.samples, index.config.patches_field):
        if id in indexed:
            indexed[id] = True
        else:
            missing.append(id)
            samples.append(sample_id)
    unseen = [id for id, seen in indexed.items() if not seen]
    gone = index.drop_used_elsewhere(unseen)
    return Difference(missing, samples, gone, len(indexed))


def add_missing(
    index: Any, found: Difference, field: str | None = None, progress: Progress | None = None
) -> list[str]:
    """Adds the missing embeddings in batches; safe to run again after an interruption.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: the result of :func:`difference`
        field (None): the field of the samples or labels that holds the vectors; by default the
            index's embeddings field, or else its model
        progress (None): called with the number of samples or patches done since the last call

    Returns:
        the ids without a vector: the field is empty, or the model failed

    Raises:
        InputError: if the index has neither a field nor a model, or a vector does not fit
        FiftyOneRedisError: if the server refuses the vectors
    """
    field = field or index.config.embeddings_field
    if field is None and index.config.model is None:
        raise InputError(
            "This index has neither an embeddings field nor a model to get vectors from: a program "
            "added its vectors. Name a field, or call index.add_to_index()."
        )
    without: list[str] = []
    samples = select_all_slices(index.samples)
    for sample_ids, label_ids in _batches(found):
        view = samples.select(sample_ids)
        vectors = (
            _read_field_vectors(index, view, field)
            if field
            else _compute_vectors(index, view, label_ids)
        )
        kept = {id: value for id, value in vectors.items() if id in label_ids}
        if kept:
            owners = [label_ids[id] for id in kept]
            named = {"label_ids": list(kept)} if index.config.patches_field else {}
            matrix = np.stack(list(kept.values()))
            index.add_to_index(matrix, owners, **named, reload=False, progress=False)
        without += [id for id in label_ids if id not in kept]
        if progress is not None:
            progress(len(label_ids))
    index.reload()
    return without


def remove_gone(index: Any, found: Difference) -> int:
    """Removes ids that are no longer in the dataset, and returns how many there were.

    Other datasets may use the index too, such as clones; what they have stays.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: the result of :func:`difference`

    Raises:
        InputError: if no id of the index is in the dataset, so that it seems to be the wrong index
        FiftyOneRedisError: if the server refuses
    """
    if not found.gone:
        return 0
    if len(found.gone) == found.indexed and found.missing:
        raise InputError(
            f"None of the {found.indexed} ids in the index is in the dataset "
            f"({list_first(found.gone)}); it seems to be the index of another dataset. "
            "Nothing was removed."
        )
    gone: list[str] = index.drop_used_elsewhere(found.gone)
    index.remove_unused(gone)
    return len(gone)


def _batches(found: Difference) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yields batches: sample ids, and their missing ids mapped to sample ids."""
    owners: dict[str, list[str]] = {}
    for id, sample_id in zip(found.missing, found.samples, strict=True):
        owners.setdefault(sample_id, []).append(id)
    everyone = list(owners)
    for start in range(0, len(everyone), _BATCH):
        batch = everyone[start : start + _BATCH]
        yield batch, {id: sample_id for sample_id in batch for id in owners[sample_id]}


def _read_field_vectors(index: Any, view: Any, field: str) -> dict[str, Any]:
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


def _compute_vectors(index: Any, view: Any, label_ids: dict[str, str]) -> dict[str, Any]:
    """Computes vectors with the index's model; returns them by id."""
    patches_field = index.config.patches_field
    if patches_field is not None:
        view = view.select_labels(ids=list(label_ids), fields=patches_field)
    load_model(index)
    vectors, samples, labels = index.compute_embeddings(view, progress=False)
    if vectors is None or not len(vectors):
        return {}
    return dict(zip(map(str, samples if labels is None else labels), vectors, strict=True))


def load_model(index: Any) -> Any:
    """Loads the model of an index.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        InputError: if it has none, or it cannot be loaded
    """
    name = index.config.model
    if name is None:
        raise InputError(
            "This index has no model name: it was created from vectors or from a model object. "
            "Create an index with the name of a model to embed other pictures."
        )
    with loading(name):
        return index.get_model()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Converts errors of loading a model to :class:`InputError`, with advice.

    Args:
        name: the model's name

    Raises:
        InputError: instead of the errors of FiftyOne's zoo and the models' loaders
    """
    try:
        yield
    except FiftyOneRedisError:
        raise
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        if not name:
            raise
        raise InputError(
            f"The model {name!r} cannot be loaded here ({error}); check its name, install what it "
            "needs, or register its zoo source."
        ) from error
