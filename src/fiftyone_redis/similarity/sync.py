"""Keeps an index in step with its dataset: what is missing in it, and what of it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiftyone_redis.errors import FiftyOneRedisError, InputError, some

Progress = Callable[[int], None]

_BATCH = 512  # samples that are embedded, or whose vectors are read, at a time


@dataclass(frozen=True)
class Difference:
    """How an index differs from its dataset. Patches are named by the ids of their labels.

    Args:
        missing: the ids of the samples or patches of the dataset that are not in the index
        samples: for each of these, the id of its sample
        gone: the ids in the index that are not in the dataset
        indexed: how many ids are in the index
    """

    missing: list[str]
    samples: list[str]
    gone: list[str]
    indexed: int


def difference(index: Any) -> Difference:
    """Compares the ids of an index with those of its dataset, reading each once.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    # Redis comes first: what a program adds in the meantime is missing then, and never gone.
    index.reload()
    patches = index.config.patches_field is not None
    indexed = dict.fromkeys((index.label_ids if patches else index.sample_ids).tolist())
    missing, samples = [], []
    for sample_id, id in _iterate_ids(
        _select_all_slices(index.samples), index.config.patches_field
    ):
        if id in indexed:
            indexed[id] = True
        else:
            missing.append(id)
            samples.append(sample_id)
    gone = [id for id, seen in indexed.items() if not seen]
    return Difference(missing, samples, gone, len(indexed))


def add_missing(
    index: Any, found: Difference, field: str | None = None, progress: Progress | None = None
) -> list[str]:
    """Adds what is missing, a few hundred samples at a time; what dies can be run again.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: what :func:`difference` found
        field (None): the field of the samples, or of the labels, that holds the vectors; by
            default that of the index, if it has one, and else its model makes them
        progress (None): called with the number of samples or patches since the last time

    Returns:
        the ids of those that have no vector: the field is empty, or the model failed

    Raises:
        InputError: if the index has neither a field nor a model, or a vector does not fit
        FiftyOneRedisError: if the server cannot take them
    """
    field = field or index.config.embeddings_field
    if field is None and index.config.model is None:
        raise InputError(
            "The vectors of this index were handed over by a program: it has neither a field nor a "
            "model to get others from. Name a field, or call index.add_to_index()."
        )
    without: list[str] = []
    samples = _select_all_slices(index.samples)
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
    """Removes what is no longer in the dataset, and returns how many ids that were.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: what :func:`difference` found

    Raises:
        InputError: if that is the whole index, which then belongs to something else
        FiftyOneRedisError: if the server cannot do it
    """
    if not found.gone:
        return 0
    if len(found.gone) == found.indexed and found.missing:
        raise InputError(
            f"None of the {found.indexed} ids in the index is in the dataset ({some(found.gone)}); "
            "it seems to be the index of another dataset. Nothing was removed."
        )
    patches = index.config.patches_field is not None
    index.remove_from_index(**{"label_ids" if patches else "sample_ids": found.gone})
    return len(found.gone)


def _select_all_slices(samples: Any) -> Any:
    """Returns a collection with the samples of all slices, if it is one of groups."""
    if samples.media_type == "group":
        return samples.select_group_slices(_allow_mixed=True)
    return samples


def _iterate_ids(samples: Any, patches_field: str | None) -> Iterator[tuple[str, str]]:
    """Yields the ids of the sample and of what is indexed, in the order of the dataset."""
    if patches_field is None:
        yield from ((id, id) for id in samples.values("id"))
        return
    _, path = samples._get_label_field_path(patches_field, "id")
    for sample_id, labels in zip(*samples.values(["id", path]), strict=True):
        for label_id in [labels] if isinstance(labels, str) else labels or ():
            yield sample_id, label_id


def _batches(found: Difference) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yields some samples at a time, and which ids of theirs are missing, with their samples."""
    owners: dict[str, list[str]] = {}
    for id, sample_id in zip(found.missing, found.samples, strict=True):
        owners.setdefault(sample_id, []).append(id)
    everyone = list(owners)
    for start in range(0, len(everyone), _BATCH):
        batch = everyone[start : start + _BATCH]
        yield batch, {id: sample_id for sample_id in batch for id in owners[sample_id]}


def _read_field_vectors(index: Any, view: Any, field: str) -> dict[str, Any]:
    """Returns the vectors that a field holds, by id."""
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
    """Returns the vectors that the index's model makes, by id."""
    patches_field = index.config.patches_field
    if patches_field is not None:
        view = view.select_labels(ids=list(label_ids), fields=patches_field)
    load_model(index)
    vectors, samples, labels = index.compute_embeddings(view, progress=False)
    if vectors is None or not len(vectors):
        return {}
    return dict(zip(map(str, samples if labels is None else labels), vectors, strict=True))


def load_model(index: Any) -> Any:
    """Returns the model of an index.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        InputError: if it has none, or it cannot be loaded
    """
    name = index.config.model
    if name is None:
        raise InputError(
            "This index does not know a model: it was made of vectors, or of a model that was not "
            "named. Make an index by a model's name, so that other pictures can be embedded."
        )
    with loading(name):
        return index.get_model()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turns what goes wrong while a model is loaded into an error that says what to do.

    Args:
        name: the model's name

    Raises:
        InputError: in the place of what FiftyOne's zoo and the models' own loaders raise
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
