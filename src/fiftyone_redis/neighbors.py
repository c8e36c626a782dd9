"""Neighbours by several queries at once, whose distances are aggregated."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fiftyone_redis.engine import Neighbors, VectorIndex, exact
from fiftyone_redis.engine.restricted import Subset

AGGREGATIONS: dict[str, Callable[..., Any]] = {
    "post-mean": np.nanmean,
    "post-min": np.nanmin,
    "post-max": np.nanmax,
}
"""How the distances of several queries become one. ("mean" averages the queries beforehand.)"""


def aggregated(
    index: VectorIndex,
    queries: Any,
    query_ids: Sequence[str] | None,
    aggregation: str,
    k: int | None,
    *,
    within: Subset | None,
    farthest: bool,
) -> Neighbors:
    """Finds the documents nearest to several queries, or farthest from them.

    Every document's distances are needed, so all vectors are read, in bounded memory.

    Args:
        index: the index
        queries: ``n x dim`` floats
        query_ids: the queries' ids, if they are documents; if all of them can be found, the
            distance of one to itself is left out, as FiftyOne's in-memory backend does
        aggregation: one of :data:`AGGREGATIONS`
        k: how many; None for all
        within: what to choose among; None for all
        farthest: whether to find the farthest, farthest first

    Returns:
        the documents, and their aggregated distances
    """
    aggregate = AGGREGATIONS[aggregation]
    ids = None if within is None else within.ids(None) or []
    rows = {id: row for row, id in enumerate(query_ids or ())}
    if ids is not None and not rows.keys() <= set(ids):
        rows = {}
    found = Neighbors([], np.zeros(0), {tag: [] for tag in index.schema.tags})
    distances = []
    for page in index.vectors(ids):
        block = exact.distances(queries, page.vectors, index.schema.metric)
        for column, id in enumerate(page.ids):
            if id in rows:
                block[rows[id], column] = np.nan
        with warnings.catch_warnings():
            # A query that is compared with itself alone has no distance at all: it is 0.
            warnings.filterwarnings("ignore", "(Mean of empty|All-NaN) slice", RuntimeWarning)
            distances.append(np.nan_to_num(aggregate(block, axis=0), nan=0.0))
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    return _sorted(found, np.concatenate([np.zeros(0), *distances]), k, farthest)


def _sorted(found: Neighbors, distances: Any, k: int | None, farthest: bool) -> Neighbors:
    keys = -distances if farthest else distances
    order = sorted(range(len(found.ids)), key=lambda row: (keys[row], found.ids[row]))[:k]
    return Neighbors(
        [found.ids[row] for row in order],
        distances[order],
        {tag: [values[row] for row in order] for tag, values in found.tags.items()},
    )
