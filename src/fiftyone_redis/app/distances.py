"""Nearest-neighbour distances of an index, and how many points a threshold would find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine import VectorIndex

Floats = npt.NDArray[np.float64]

MOST = 1000
"""The sample size for a large index, so that measuring takes a second or two."""

_ALL = 2000
_BATCH = 200
_BINS = 50


@dataclass(frozen=True)
class Distances:
    """Distances of points to their nearest neighbours.

    Args:
        values: the distances in the metric's unit, ascending; of all points, or of a random sample
        documents: the number of points in the index
    """

    values: Floats
    documents: int

    @property
    def exact(self) -> bool:
        """Whether the distances of all points were measured."""
        return len(self.values) >= self.documents

    def count(self, threshold: float) -> int:
        """Returns how many points have another one within a threshold, estimated from a sample."""
        if not len(self.values):
            return 0
        near = int(np.searchsorted(self.values, threshold, side="right"))
        return round(near / len(self.values) * self.documents)

    @property
    def suggested(self) -> float:
        """The suggested threshold: a quarter of the median distance."""
        if not len(self.values):
            return 0.0
        return float(f"{np.median(self.values) / 4:.2g}")

    @property
    def largest(self) -> float:
        """The 99th percentile, since outliers would squeeze the histogram."""
        return float(np.quantile(self.values, 0.99)) if len(self.values) else 1.0

    def histogram(self) -> tuple[list[float], list[int]]:
        """Returns the edges of equally wide bins, and their counts, without the farthest 1%."""
        shown = self.values[self.values <= self.largest]
        counts, edges = np.histogram(shown, bins=_BINS)
        return edges.tolist(), counts.tolist()


def measure_nearest(index: Any, engine: VectorIndex) -> Distances:
    """Measures nearest-neighbour distances, of a random sample if the index is large.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        engine: the same index in the engine

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    ids = index.sample_ids if index.config.patches_field is None else index.label_ids
    count = len(ids)
    if count < 2:
        return Distances(np.zeros(0), count)
    if count > _ALL:
        ids = np.random.default_rng(51).choice(ids, MOST, replace=False)
    values: list[float] = []
    for start in range(0, len(ids), _BATCH):
        found = engine.fetch(ids[start : start + _BATCH].tolist())
        for id, near in zip(found.ids, engine.search(found.vectors, 2), strict=True):
            others = [d for other, d in zip(near.ids, near.distances, strict=True) if other != id]
            values.append(float(others[0]))
    return Distances(np.sort(values), count)
