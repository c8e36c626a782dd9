"""Caches slow facts about indexes until the index or its dataset changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fiftyone_redis.app import distances
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.similarity.comparison import Difference
from fiftyone_redis.similarity.in_step import find_difference

T = TypeVar("T")

_cache: dict[tuple[str, ...], tuple[Any, Any]] = {}

_SECONDS = 1.0  # for which distances are measured at once


def clear() -> None:
    """Clears the cache."""
    _cache.clear()


def clear_differences() -> None:
    """Clears what may be out of date; the version of an index tells that for its distances."""
    for key in [key for key in _cache if key[0] == "difference"]:
        del _cache[key]


def cached_difference(index: Any) -> Difference:
    """Returns how an index differs from its dataset; see :func:`in_step.find_difference`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
    """
    dataset = index.samples._root_dataset
    version = [index.total_index_size, len(dataset), getattr(dataset, "last_deletion_at", None)]
    if index.config.patches_field is not None:
        # Labels change only with their samples. MongoDB has an index of this field.
        version.append(dataset._max("last_modified_at"))
    return _cached(("difference", *_name(index)), version, lambda: find_difference(index))


def cached_distances(index: Any, engine: VectorIndex) -> Distances:
    """Returns nearest-neighbour distances, measured for a second; see :mod:`.distances`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        engine: the same index in the engine
    """

    def measure() -> Distances:
        return distances.measure_more(distances.begin(index, engine), engine, _SECONDS)

    return _cached(("distances", *_name(index)), _version(engine), measure)


def measure_rest(index: Any, engine: VectorIndex, report: Callable[[Distances], None]) -> Distances:
    """Measures the rest of the sample, and caches what is measured each second.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        engine: the same index in the engine
        report: called each second with what was measured so far
    """
    found = cached_distances(index, engine)
    key = ("distances", *_name(index))
    version = _cache[key][0]
    while found.rest:
        report(found)
        found = distances.measure_more(found, engine, _SECONDS)
        _cache[key] = (version, found)
    return found


def store_distances(index: Any, found: Distances) -> None:
    """Caches distances that were computed elsewhere."""
    _cache[("distances", *_name(index))] = (_version(index.open_index()), found)


def _version(engine: VectorIndex) -> tuple[Any, ...]:
    """Returns what changes with every vector that is written or removed, and every rebuild."""
    info = engine.info()
    return engine.schema.server_name, info.get("num_docs"), info.get("max_doc_id")


def _name(index: Any) -> tuple[str, ...]:
    return str(index.samples._root_dataset._doc.id), index.key, index.config.index_name


def _cached(key: tuple[str, ...], version: Any, find: Callable[[], T]) -> T:
    if key not in _cache or _cache[key][0] != version:
        _cache[key] = (version, find())
    value: T = _cache[key][1]
    return value
