"""The data of the benchmarks: the same bytes in every process, made from seeds.

Clustered: 250 points around each centre on average, a centre's values and the points' noise drawn
from normal distributions of standard deviation 1 and 0.5. Uniform: every value from 0 to 1 alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

DATASET = "benchmark"
POINTS_DATASET = "benchmark-points"

_SEED = 51
_BLOCK_ROWS = 4096
_POINTS_PER_CENTRE = 250
_NOISE = 0.5


@dataclass(frozen=True)
class Sizes:
    """How much work is done.

    Args:
        count: samples in the dataset, and vectors in the index
        dim: the vectors' dimension
        points: how many points the neighbours of all points are sought for
        steps: numbers of vectors at which the rates of writing and reading are compared; the
            client's memory is measured at ``count`` and at the last of them
        uniform_dim: the dimension of the uniform data
        runs: how often a thing that takes seconds is measured
        queries: how often a thing that takes milliseconds is measured
        limit: seconds after which no further run of a work begins; for searches, a sixth of that
    """

    count: int = 50_000
    dim: int = 512
    points: int = 20_000
    steps: tuple[int, ...] = (10_000, 50_000, 200_000)
    uniform_dim: int = 128
    runs: int = 3
    queries: int = 21
    limit: float = 40.0


SHARES = (0.002, 0.02, 0.2, 0.5, 0.8, 0.95)
"""The sizes of the views, as shares of the dataset."""


def search_name(share: float) -> str:
    """Returns the name of the work that searches a view of a share of the dataset."""
    return f"search {share * 100:g} %"


def clustered(count: int, dim: int) -> Matrix:
    """Returns clustered vectors."""
    vectors = np.empty((count, dim), np.float32)
    for rows, block in clustered_blocks(count, dim):
        vectors[rows] = block
    return vectors


def clustered_blocks(count: int, dim: int, done: int = 0) -> Iterator[tuple[slice, Matrix]]:
    """Yields the rows and vectors of :func:`clustered` in blocks, without the first ``done`` rows.

    The block in which these end is yielded whole.
    """
    number = max(1, count // _POINTS_PER_CENTRE)
    centres = np.random.default_rng(_SEED).standard_normal((number, dim), dtype=np.float32)
    for rows, rng in _blocks(count):
        if rows.stop <= done:
            continue
        block = rng.standard_normal((rows.stop - rows.start, dim), dtype=np.float32)
        block *= _NOISE
        block += centres[rng.integers(number, size=len(block))]
        yield rows, block


def uniform(count: int, dim: int) -> Matrix:
    """Returns vectors whose values are uniformly random."""
    vectors = np.empty((count, dim), np.float32)
    for rows, rng in _blocks(count):
        rng.random(out=vectors[rows], dtype=np.float32)
    return vectors


def shares(count: int) -> npt.NDArray[np.float64]:
    """Returns the values of the samples' field ``share``, by which the views are made."""
    return np.random.default_rng(_SEED).random(count)


def made_up_ids(count: int, first: int = 0) -> list[str]:
    """Returns ids that look like FiftyOne's, up to number ``count``."""
    return [f"{row:024x}" for row in range(first, count)]


def unit(vectors: Matrix) -> Matrix:
    """Returns the vectors at length 1, so that a dot product is their cosine similarity."""
    lengths: Matrix = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def nearest(units: Matrix, query: Matrix, k: int) -> list[int]:
    """Returns the rows nearest to a query by cosine, by brute force; both have length 1."""
    similarity = units @ query
    candidates = np.argpartition(-similarity, min(k, len(units) - 1))[:k]
    return [int(row) for row in candidates]


def recall(found: list[list[Any]], wanted: list[list[Any]]) -> float:
    """Returns which share of the wanted neighbours was found."""
    hits = sum(len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True))
    return hits / max(1, sum(len(b) for b in wanted))


def _blocks(count: int) -> Iterator[tuple[slice, np.random.Generator]]:
    """Yields the rows of each block and the block's own generator: no second array is needed."""
    for start in range(0, count, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, count))
        yield rows, np.random.default_rng((_SEED, start))
