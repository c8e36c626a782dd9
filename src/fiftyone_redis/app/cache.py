"""Caches slow facts about indexes until the index or its dataset changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fiftyone_redis.app.distances import Distances, measure_nearest
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.similarity.comparison import Difference, difference

T = TypeVar("T")

_cache: dict[tuple[str, ...], tuple[Any, Any]] = {}


def clear() -> None:
    """Clears the cache."""
    _cache.clear()


def cached_difference(index: Any) -> Difference:
    """Returns how an index differs from its dataset; see :func:`comparison.difference`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
    """
    dataset = index.samples._root_dataset
    version = [index.total_index_size, len(dataset), getattr(dataset, "last_deletion_at", None)]
    if index.config.patches_field is not None:
        # Labels change only with their samples. MongoDB has an index of this field.
        version.append(dataset._max("last_modified_at"))
    return _cached(("difference", *_name(index)), version, lambda: difference(index))


def cached_distances(index: Any, engine: VectorIndex) -> Distances:
    """Returns nearest-neighbour distances; see :func:`distances.measure_nearest`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        engine: the same index in the engine
    """
    key = ("distances", *_name(index))
    return _cached(key, _version(index), lambda: measure_nearest(index, engine))


def store_distances(index: Any, found: Distances) -> None:
    """Caches distances that were computed elsewhere."""
    _cache[("distances", *_name(index))] = (_version(index), found)


def _version(index: Any) -> tuple[Any, ...]:
    return index.total_index_size, index.config.metric, index.config.dtype


def _name(index: Any) -> tuple[str, ...]:
    return str(index.samples._root_dataset._doc.id), index.key, index.config.index_name


def _cached(key: tuple[str, ...], version: Any, find: Callable[[], T]) -> T:
    if key not in _cache or _cache[key][0] != version:
        _cache[key] = (version, find())
    value: T = _cache[key][1]
    return value
