"""Finds neighbours of several queries by their aggregated distances."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fiftyone_redis.engine import Neighbors, VectorIndex
from fiftyone_redis.engine.search import exact_search
from fiftyone_redis.engine.search.subset_search import Subset


def aggregate_neighbors(
    index: VectorIndex,
    queries: Any,
    query_ids: Sequence[str] | None,
    aggregate: Callable[..., Any],
    k: int | None,
    *,
    is_whole: bool,
    within: Subset | None,
    farthest: bool,
) -> list[Neighbors]:
    """Finds the neighbours of several queries by aggregated distance; reads all vectors, in pages.

    Args:
        index: the index
        queries: ``n x dim`` floats
        query_ids: the queries' ids, if they are documents: if all are in the subset, the distance
            of a document to itself is ignored, as in FiftyOne's in-memory backend
        aggregate: the function that aggregates distances, such as ``np.nanmean``
        k: the number of neighbours; None for all
        is_whole: whether the subset is the whole dataset, with ids of queries that were deleted
        within: the subset to search in; None for the whole index
        farthest: whether to find the farthest, farthest first

    Returns:
        a list of one: the neighbours, with aggregated distances
    """
    ids = None if within is None else within.ids()
    own_ids = np.array(query_ids or (), dtype=np.str_)
    if ids is not None and not is_whole and not {*own_ids.tolist()} <= {*ids}:
        own_ids = own_ids[:0]
    found = Neighbors([], np.zeros(0), {tag: [] for tag in index.schema.tags})
    distances = []
    for page in index.vectors(ids):
        block = exact_search.compute_distances(queries, page.vectors, index.schema.metric)
        distances.append(_aggregate(block, page.ids, own_ids, aggregate))
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    return [_sort_neighbors(found, np.concatenate([np.zeros(0), *distances]), k, farthest)]


def _aggregate(block: Any, ids: Sequence[str], own_ids: Any, aggregate: Callable[..., Any]) -> Any:
    """Aggregates each column of distances, except a query's to itself; 0 if there is no other."""
    known = {*own_ids.tolist()}
    for column, id in enumerate(ids):
        if id in known:
            block[own_ids == id, column] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Mean of empty|All-NaN) slice", RuntimeWarning)
        return np.nan_to_num(aggregate(block, axis=0), nan=0.0)


def _sort_neighbors(found: Neighbors, distances: Any, k: int | None, farthest: bool) -> Neighbors:
    keys = -distances if farthest else distances
    order = sorted(range(len(found.ids)), key=lambda row: (keys[row], found.ids[row]))[:k]
    return Neighbors(
        [found.ids[row] for row in order],
        distances[order],
        {tag: [values[row] for row in order] for tag, values in found.tags.items()},
    )
