"""Near duplicates: which points of an index have another one within a distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine import exact_search

Progress = Callable[[int], None]

_REPORTED = 256  # points


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        ids: the ids of all points that have another one within the threshold, each group of near
            duplicates together, one that is kept first
        duplicates: those of them that could be left out: within the threshold of one that is kept
        nearest: the nearest-neighbour distances of all points of the index
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
        threshold: the largest distance of near duplicates, in the metric's own unit
        progress: called with the number of vectors that were compared since the last time
    """
    nearest, partners = _nearest(vectors, metric, progress)
    near = np.flatnonzero(nearest <= threshold)
    points = vectors[near]
    kept = exact_search.drop_duplicates(points, threshold, metric)
    left_out = np.setdiff1d(np.arange(len(near)), kept)
    leader = np.arange(len(near))
    if len(left_out):
        to_kept = exact_search.find_neighbors(points[kept], points[left_out], 1, metric)
        leader[left_out] = [kept[rows[0]] for rows, _ in to_kept]
    # A point that is kept and leads no group stands beside its nearest neighbour.
    alone = np.setdiff1d(kept, leader[left_out])
    beside = np.searchsorted(near, partners[near[alone]])
    leader[alone] = leader[np.minimum(beside, len(near) - 1)]
    order = np.lexsort((nearest[near], leader != np.arange(len(near)), leader))
    return Duplicates(
        [str(ids[near[row]]) for row in order],
        [str(ids[near[row]]) for row in left_out],
        nearest,
    )


def _nearest(
    vectors: npt.NDArray[Any], metric: str, progress: Progress | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Returns each vector's distance to the nearest of the others, infinite if alone, and its row.

    Both rows of a pair say the same distance, but for rounding.
    """
    found = np.full(len(vectors), np.inf)
    partners = np.arange(len(vectors))
    for row, (rows, distances) in enumerate(exact_search.find_neighbors(vectors, None, 1, metric)):
        if len(distances):
            found[row], partners[row] = distances[0], rows[0]
        if progress is not None and (row + 1) % _REPORTED == 0:
            progress(_REPORTED)
    return found, partners
