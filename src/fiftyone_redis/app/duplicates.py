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
    """Near duplicates, by groups, the closest group first; in each, the point to keep first.

    Args:
        ids: the ids of all points that have another one within the threshold
        groups: the number of the group of each, from 1
        distances: how far each is from the one to keep; of that one, from its nearest
        keeps: whether each is to be kept; the others are within the threshold of one that is
        nearest: the nearest-neighbour distances of all points
    """

    ids: list[str]
    groups: list[int]
    distances: list[float]
    keeps: list[bool]
    nearest: npt.NDArray[np.float64]

    @property
    def duplicates(self) -> list[str]:
        """The ids that can be left out."""
        return [id for id, keep in zip(self.ids, self.keeps, strict=True) if not keep]


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
    kept = exact_search.assign_duplicates(vectors[near], threshold, metric)
    dropped = kept.nearest >= 0
    leader = np.where(dropped, kept.nearest, np.arange(len(near)))
    distances = np.where(dropped, kept.distances, nearest[near])
    # A kept point without a group is placed next to its nearest neighbour.
    alone = np.setdiff1d(kept.rows, leader[dropped])
    beside = np.searchsorted(near, partners[near[alone]])
    leader[alone] = leader[np.minimum(beside, len(near) - 1)]
    closest = np.full(len(near), np.inf)
    np.minimum.at(closest, leader, distances)
    follows = leader != np.arange(len(near))
    order = np.lexsort((distances, follows, leader, closest[leader]))
    begins = np.diff(leader[order], prepend=-1) != 0
    return Duplicates(
        [str(ids[near[row]]) for row in order],
        np.cumsum(begins).tolist(),
        distances[order].tolist(),
        np.isin(order, kept.rows).tolist(),
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
