"""Exact distances and neighbours by brute force in numpy, in bounded memory.

Distances are calculated in float64: the error is about 1e-7 of the vectors' length, even between
almost equal vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine.vectors.encoding import Array

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_TILE_ROWS = 2048
_BLOCK_ROWS = 1024
_BLOCK_VALUES = 1 << 24
_BLOCK_SUMS = 1 << 35  # multiply-adds in a second; callers can stop between two blocks
_SPARE = 8
_EXACT_ROWS = 64
_DENSE = 0.05
_PROBE_QUERIES, _PROBE_POINTS = 256, 16_384


@dataclass(frozen=True)
class Kept:
    """Points without their near duplicates.

    Args:
        rows: the rows of the points to keep, ascending
        nearest: for each dropped point the row of the nearest one that is kept; else -1
        distances: the distances to these; infinity for a point that is kept
    """

    rows: Rows
    nearest: Rows
    distances: Floats


def compute_distances(queries: Array, vectors: Array, metric: str) -> Floats:
    """Returns the distance of every vector to every query.

    Args:
        queries: ``q x dim`` floats
        vectors: ``n x dim`` floats
        metric: "cosine" (1 - cosine), "dotproduct" (1 - dot product) or "euclidean"

    Returns:
        a ``q x n`` array
    """
    return _distances(_prepared(queries, metric), _prepared(vectors, metric), metric)


def merge(
    best: tuple[Floats, Rows] | None, block: Floats, offset: int, k: int
) -> tuple[Floats, Rows]:
    """Merges a block of sort keys into the ``k`` smallest so far of each row.

    Args:
        best: the result of the last call; None at first
        block: ``q x n`` sort keys
        offset: the number of the block's first column
        k: the number of keys to keep per row

    Returns:
        the smallest keys of each row, and the numbers of their columns, both unordered
    """
    columns = np.broadcast_to(np.arange(offset, offset + block.shape[1]), block.shape)
    if best is not None:
        block = np.concatenate([best[0], block], axis=1)
        columns = np.concatenate([best[1], columns], axis=1)
    if block.shape[1] <= k:
        return block, columns
    chosen = np.argpartition(block, k - 1, axis=1)[:, :k]
    return np.take_along_axis(block, chosen, 1), np.take_along_axis(columns, chosen, 1)


def find_neighbors(
    points: Array, queries: Array | None, k: int, metric: str
) -> Generator[tuple[Rows, Floats], None, None]:
    """Finds the nearest neighbours of many queries among points in memory.

    Args:
        points: ``n x dim`` floats
        queries: ``q x dim`` floats; None to query with each point and exclude the point itself
        k: the number of neighbours
        metric: as for :func:`compute_distances`

    Yields:
        the rows and distances of the neighbours of each query, nearest first; fewer than ``k`` if
        there are not enough points
    """
    own = queries is None
    wanted = max(0, min(k, len(points) - own))
    # Candidates are chosen in float32, which is twice as fast; spare ones make up for rounding.
    chosen = max(0, min(wanted + _SPARE, len(points) - own))
    scored = _scored(points, metric)
    # |q - x|^2 = |q|^2 - 2 (q.x - |x|^2 / 2), so the nearest has the largest score
    halves = np.einsum("ij,ij->i", scored, scored) / 2 if metric == "euclidean" else None
    asked = points if queries is None else queries
    rows = max(_EXACT_ROWS, min(_BLOCK_ROWS, _BLOCK_SUMS // max(1, points.size)))
    for start in range(0, len(asked) if wanted else 0, rows):
        block = asked[start : start + rows]
        first = start if own else None
        found = np.sort(_best_columns(_scored(block, metric), scored, halves, chosen, first))
        for part in range(0, len(block), _EXACT_ROWS):
            columns = found[part : part + _EXACT_ROWS]
            exact = _paired(block[part : part + _EXACT_ROWS], points[columns], metric)
            order = np.argsort(exact, axis=1, kind="stable")[:, :wanted]
            yield from zip(
                np.take_along_axis(columns, order, 1),
                np.take_along_axis(exact, order, 1),
                strict=True,
            )
    if not wanted:
        yield from ((np.zeros(0, np.intp), np.zeros(0)) for _ in asked)


def estimate_seconds(points: Array, metric: str) -> float:
    """Estimates how long it takes to compare all pairs of points here, from a part of them."""
    queries, others = points[:_PROBE_QUERIES], points[:_PROBE_POINTS]
    start = time.perf_counter()
    for _ in find_neighbors(others, queries, 1, metric):
        pass
    seconds = time.perf_counter() - start
    return seconds * len(points) ** 2 / max(1, len(queries) * len(others))


def find_within_radius(
    points: Array, queries: Array | None, radius: float, metric: str
) -> Iterator[Rows]:
    """Finds all points within a radius of each query.

    Args:
        points: ``n x dim`` floats
        queries: ``q x dim`` floats; None to query with each point and exclude the point itself
        radius: the largest distance
        metric: as for :func:`compute_distances`

    Yields:
        the rows of the points within the radius of each query, ascending
    """
    asked = points if queries is None else queries
    prepared = _prepared(points, metric)
    rows = _rows_at_once(len(points))
    for start in range(0, len(asked), rows):
        block = _prepared(asked[start : start + rows], metric)
        near = _distances(block, prepared, metric) <= radius
        if queries is None:
            near[np.arange(len(near)), np.arange(start, start + len(near))] = False
        yield from (np.flatnonzero(row) for row in near)


def drop_duplicates(
    points: Array, radius: float, metric: str, progress: Callable[[int], None] | None = None
) -> Rows:
    """Drops every point that lies within a radius of an earlier point that was kept.

    Args:
        points: ``n x dim`` floats
        radius: the largest distance of a duplicate
        metric: as for :func:`compute_distances`
        progress: called with the number of points compared since the last time

    Returns:
        the rows of the kept points, ascending
    """
    prepared = _prepared(points, metric)
    kept = np.ones(len(points), dtype=bool)
    step = _rows_at_once(len(points))
    for start in range(0, len(points), step):
        rows = start + np.flatnonzero(kept[start : start + step])
        rest = start + np.flatnonzero(kept[start:])
        near = _distances(prepared[rows], prepared[rest], metric) <= radius
        for row, duplicates in zip(rows, near, strict=True):
            if kept[row]:
                kept[rest[duplicates & (rest > row)]] = False
        if progress is not None:
            progress(min(step, len(points) - start))
    return np.flatnonzero(kept)


def assign_duplicates(
    points: Array, radius: float, metric: str, progress: Callable[[int], None] | None = None
) -> Kept:
    """Does the same, and finds the nearest kept point of each dropped one.

    Progress is called with 0 while it does, which may raise to end the work.
    """
    rows = drop_duplicates(points, radius, metric, progress)
    dropped = np.setdiff1d(np.arange(len(points)), rows)
    nearest, distances = np.full(len(points), -1), np.full(len(points), np.inf)
    found = find_neighbors(points[rows], points[dropped], 1, metric)
    for row, (near, how_near) in zip(dropped, found, strict=True):
        nearest[row], distances[row] = rows[near[0]], how_near[0]
        if progress is not None:
            progress(0)
    return Kept(rows, nearest, distances)


def _rows_at_once(columns: int) -> int:
    """Returns how many rows of distances fit into one block, given the number of columns."""
    return max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // max(1, columns)))


def _best_columns(
    queries: Array, points: Array, halves: Array | None, k: int, first: int | None
) -> Rows:
    """Returns the columns of the ``k`` best scores of each query, unordered.

    The score is the dot product, minus half the point's squared length if given. From the second
    tile on, only the few scores above the worst of the best so far are considered.

    Args:
        queries: ``q x dim`` float32
        points: ``n x dim`` float32
        halves: ``n`` numbers, or None
        k: the number of columns, at most n
        first: the row of ``points`` that equals the first query, if the queries are points; else
            None
    """
    rows = np.arange(len(queries))
    best = np.full((len(queries), k), -np.inf, dtype=np.float32), np.zeros((len(queries), k), int)
    buffer = np.empty((len(queries), min(_TILE_ROWS, len(points))), dtype=np.float32)
    above = np.empty(buffer.shape, dtype=bool)
    for start in range(0, len(points), _TILE_ROWS):
        stop = min(start + _TILE_ROWS, len(points))
        tile, better = buffer[:, : stop - start], above[:, : stop - start]
        np.matmul(queries, points[start:stop].T, out=tile)
        if halves is not None:
            tile -= halves[start:stop]
        if first is not None:
            own = (rows + first >= start) & (rows + first < stop)
            tile[rows[own], rows[own] + first - start] = -np.inf
        np.greater(tile, best[0].min(axis=1, keepdims=True), out=better)
        best = _merged(best, tile, better, start)
    return best[1]


def _merged(best: tuple[Array, Rows], tile: Array, better: Array, start: int) -> tuple[Array, Rows]:
    """Merges the better scores of a tile, whose first column is ``start``, into the best so far."""
    scores, columns = best
    k = scores.shape[1]
    flat = np.flatnonzero(better)
    if len(flat) > _DENSE * better.size:
        both = np.concatenate([scores, tile], axis=1)
        numbers = np.broadcast_to(np.arange(start, start + tile.shape[1]), tile.shape)
        chosen = np.argpartition(both, both.shape[1] - k, axis=1)[:, -k:]
        every = np.concatenate([columns, numbers], axis=1)
        return np.take_along_axis(both, chosen, 1), np.take_along_axis(every, chosen, 1)
    rows = np.arange(len(scores))
    row, column = np.divmod(flat, better.shape[1])
    score = np.concatenate([scores.ravel(), tile[row, column]])
    column = np.concatenate([columns.ravel(), column + start])
    row = np.concatenate([np.repeat(rows, k), row])
    order = np.lexsort((-score, row))
    begin = np.searchsorted(row[order], rows)
    chosen = order[begin[:, np.newaxis] + np.arange(k)]
    return score[chosen], column[chosen]


def _scored(vectors: Array, metric: str) -> Array:
    """Returns vectors in float32, normalized if the metric is cosine."""
    if metric != "cosine":
        return np.ascontiguousarray(vectors, dtype=np.float32)
    scaled = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), _TILE_ROWS):  # all at once take twice as long
        tile = vectors[start : start + _TILE_ROWS]
        scaled[start : start + _TILE_ROWS] = tile / np.linalg.norm(tile, axis=1, keepdims=True)
    return scaled


def _paired(queries: Array, candidates: Array, metric: str) -> Floats:
    """Returns the distances of each query to its own candidates: ``q x dim`` to ``q x c x dim``."""
    wide, each = _prepared(queries, metric)[:, np.newaxis], _prepared(candidates, metric)
    if metric == "euclidean":
        distance: Floats = np.linalg.norm(each - wide, axis=2)
        return distance
    products: Floats = np.einsum("qcd,qcd->qc", each, np.broadcast_to(wide, each.shape))
    return 1 - products if metric == "dotproduct" else (1 - products).clip(0, 2)


def _prepared(vectors: Array, metric: str) -> Floats:
    wide: Floats = np.asarray(vectors, dtype=np.float64)
    if metric == "cosine":
        wide = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return wide


def _distances(queries: Floats, vectors: Floats, metric: str) -> Floats:
    products: Floats = queries @ vectors.T
    if metric != "euclidean":
        return 1 - products if metric == "dotproduct" else (1 - products).clip(0, 2)
    squares = np.einsum("ij,ij->i", vectors, vectors) - 2 * products
    squares += np.einsum("ij,ij->i", queries, queries)[:, np.newaxis]
    distance: Floats = np.sqrt(squares.clip(min=0))
    return distance
