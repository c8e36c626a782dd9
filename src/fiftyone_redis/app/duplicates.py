"""Groups near duplicates: points with another point within a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fiftyone_redis.similarity.all_points import NearPoints


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


def group(found: NearPoints, threshold: float) -> Duplicates:
    """Groups near duplicates around the points to keep.

    Args:
        found: what :meth:`find_near` found for the threshold
        threshold: the largest distance of near duplicates, in the metric's unit
    """
    kept, rows = found.kept, np.arange(len(found.ids))
    is_dropped = kept.nearest >= 0
    leader = np.where(is_dropped, kept.nearest, rows)
    nearest = np.minimum(found.nearest, kept.distances)
    # The graph may have found a pair from one of the two points alone.
    np.minimum.at(nearest, leader[is_dropped], kept.distances[is_dropped])
    distances = np.where(is_dropped, kept.distances, nearest)
    # A kept point without a group is placed next to its nearest neighbour.
    is_alone = (found.nearest <= threshold) & ~is_dropped & is_dropped[found.partners]
    is_alone[leader[is_dropped]] = False
    leader[is_alone] = leader[found.partners[is_alone]]
    closest = np.full(len(rows), np.inf)
    np.minimum.at(closest, leader, distances)
    order = np.lexsort((distances, leader != rows, leader, closest[leader]))
    order = order[nearest[order] <= threshold]
    begins = np.diff(leader[order], prepend=-1) != 0
    return Duplicates(
        [found.ids[row] for row in order],
        np.cumsum(begins).tolist(),
        distances[order].tolist(),
        (~is_dropped[order]).tolist(),
        nearest,
    )
