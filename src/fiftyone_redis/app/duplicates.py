"""Finds near duplicates: points with another point within a threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine.search import exact_search

Progress = Callable[[int], None]

_REPORT_EVERY = 256  # points


@dataclass(frozen=True)
class Duplicates:
    """Near duplicates.

    Args:
        ids: the ids of all points that have another one within the threshold, by groups of near
            duplicates, with the point to keep first
        duplicates: the ids that can be dropped: those within the threshold of a point to keep
        nearest: the nearest-neighbour distances of all points
    """

    ids: list[str]
    duplicates: list[str]
    nearest: npt.NDArray[np.float64]


def find(
    ids: npt.NDArray[Any],
    vectors: npt.NDArray[Any],
    metric: str,
    threshold: float,
    progress: Progress | None = None,
) -> Duplicates:
    """Finds near duplicates among vectors.

    Args:
        ids: their ids
        vectors: an ``n x dim`` array of floats
        metric: "cosine", "dotproduct" or "euclidean"
        threshold: the largest distance of near duplicates, in the metric's unit
        progress: called with the number of vectors compared since the last call
    """
    nearest, partners = _nearest(vectors, metric, progress)
    near = np.flatnonzero(nearest <= threshold)
    points = vectors[near]
    kept = exact_search.drop_duplicates(points, threshold, metric)
    dropped = np.setdiff1d(np.arange(len(near)), kept)
    leader = np.arange(len(near))
    if len(dropped):
        to_kept = exact_search.find_neighbors(points[kept], points[dropped], 1, metric)
        leader[dropped] = [kept[rows[0]] for rows, _ in to_kept]
    # A kept point without a group is placed next to its nearest neighbour.
    alone = np.setdiff1d(kept, leader[dropped])
    beside = np.searchsorted(near, partners[near[alone]])
    leader[alone] = leader[np.minimum(beside, len(near) - 1)]
    order = np.lexsort((nearest[near], leader != np.arange(len(near)), leader))
    return Duplicates(
        [str(ids[near[row]]) for row in order],
        [str(ids[near[row]]) for row in dropped],
        nearest,
    )


def _nearest(
    vectors: npt.NDArray[Any], metric: str, progress: Progress | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Returns the distance and row of each vector's nearest neighbour; infinity if it has none."""
    found = np.full(len(vectors), np.inf)
    partners = np.arange(len(vectors))
    for row, (rows, distances) in enumerate(exact_search.find_neighbors(vectors, None, 1, metric)):
        if len(distances):
            found[row], partners[row] = distances[0], rows[0]
        if progress is not None and (row + 1) % _REPORT_EVERY == 0:
            progress(_REPORT_EVERY)
    return found, partners
