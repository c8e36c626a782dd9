"""Nearest-neighbour distances of an index, and how many points a threshold would find.

A large index is sampled: each search of a million vectors may take a tenth of a second, so the
sample grows step by step, and a step ends when its time is up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.similarity.dataset_ids import iterate_ids, select_all_slices

Floats = npt.NDArray[np.float64]

MOST = 1000
"""The sample size for a large index."""

_ALL = 2000
_BATCH = 200
_BATCH_SECONDS = 0.1  # the server lets all others wait for a batch
_FEWEST = 10  # distances that a step measures, whatever time that takes
_SPARE = 1.5  # of the sampled ids, some are not in the index
_BINS = 50


@dataclass(frozen=True)
class Distances:
    """Distances of points to their nearest neighbours.

    Args:
        values: the distances in the metric's unit, ascending; of all points, or of a random sample
        documents: the number of points in the index
        rest: the ids of the sample whose distances are yet to be measured
    """

    values: Floats
    documents: int
    rest: Sequence[str] = field(default=(), repr=False)

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


def begin(index: Any, engine: VectorIndex) -> Distances:
    """Chooses the points to measure: all, or a random sample if the index is large.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        engine: the same index in the engine

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    count = len(engine)
    if count < 2:
        return Distances(np.zeros(0), count)
    if count > _ALL:
        ids = _sample_dataset(index, engine, count)
        if len(ids) >= MOST / 2:
            return Distances(np.zeros(0), count, ids[:MOST])
    ids = engine.ids()
    if len(ids) > _ALL:
        ids = np.random.default_rng(51).choice(ids, MOST, replace=False).tolist()
    return Distances(np.zeros(0), count, ids)


def measure_more(found: Distances, engine: VectorIndex, seconds: float) -> Distances:
    """Measures the distances of more points of the sample.

    Args:
        found: what :func:`begin` or this function returned
        engine: the index
        seconds: how long to measure for; a few are measured at least, and a small index as a whole

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    values, done, size, started = found.values.tolist(), 0, 1, time.monotonic()
    spent = 0.0
    if found.documents <= _ALL:
        seconds = float("inf")
    while done < len(found.rest) and (done < _FEWEST or spent < seconds):
        there = engine.fetch(list(found.rest[done : done + size]))
        for id, near in zip(there.ids, engine.search(there.vectors, 2), strict=True):
            others = [d for other, d in zip(near.ids, near.distances, strict=True) if other != id]
            values += map(float, others[:1])
        done += size
        spent = time.monotonic() - started
        size = max(1, min(_BATCH, int(_BATCH_SECONDS * done / spent)))
    return Distances(np.sort(values), found.documents, found.rest[done:])


def _sample_dataset(index: Any, engine: VectorIndex, count: int) -> list[str]:
    """Returns random ids of the dataset that are in the index.

    MongoDB draws a few of a million samples in an instant; to list the ids in the index takes
    seconds.
    """
    samples, patches_field = index.samples._root_dataset, index.config.patches_field
    collection = samples._sample_collection
    wanted = MOST * _SPARE
    if patches_field is None:
        wanted *= max(1.0, collection.estimated_document_count() / count)
    size = int(min(wanted, 20 * MOST))
    stages = [{"$sample": {"size": size}}, {"$project": {"_id": True}}]
    ids = [str(one["_id"]) for one in collection.aggregate(stages)]
    if patches_field is not None:
        view = select_all_slices(samples).select(ids)
        labels = [id for _, id in iterate_ids(view, patches_field)]
        order = np.random.default_rng(51).permutation(len(labels))[:size]
        ids = [labels[row] for row in order]
    there = engine.existing(ids)
    return [id for id in ids if id in there]
