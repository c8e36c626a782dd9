"""The neighbours of all points, and near duplicates among them, through the server's graph.

Each point is one search, many are in flight, and the vectors are never in memory at once. The graph
chooses the neighbours; their distances are calculated here, as by brute force.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from functools import partial
from threading import Event
from typing import Any

import numpy as np

from fiftyone_redis.engine.documents import reading
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.index import VectorIndex
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.search import exact_search, many_searches
from fiftyone_redis.engine.search.exact_search import Floats, Kept, Rows
from fiftyone_redis.engine.search.knn_search import Neighbors
from fiftyone_redis.engine.search.subset_search import IdSubset
from fiftyone_redis.errors import IncompleteResultError, IndexChangedError, format_count

CANDIDATES = 100
"""How many candidates a search keeps, unless ef_runtime was set: enough for a recall of 0.99
(docs/benchmarks.md) in a quarter of the time that the default of single searches takes."""

_SPARE = 8  # more neighbours than needed, where the server's distances are rounded coarsely
_FIRST_WIDTH = 8  # neighbours that are asked for first, to find those within a radius
_WIDER = 8
_WIDEST = 4096  # a point with more near ones is compared with all vectors
_HITS_AT_ONCE = 16_384
SAMPLE = 64  # points that tell whether a radius is crowded
_CROWDED = 0.05
_SCANNED_AT_ONCE = 1024

Found = tuple[Rows, Floats]


class GraphPoints:
    """Points of an index that walks a graph. A row is the position of a point's id.

    Args:
        index: the index; a handle for these points alone, as its searches keep other candidates
        ids: the ids of the points, each once
    """

    def __init__(self, index: VectorIndex, ids: Sequence[str]) -> None:
        index.schema = many_searches.choose_candidates(index.schema, CANDIDATES)
        self._index, self.server_name = index, index.schema.server_name
        self._ids = ids
        self._rows = {id: row for row, id in enumerate(ids)}
        self._within = IdSubset(ids) if len(ids) < len(index) else None
        self._known: Found | None = None
        self._is_over = Event()  # then searches that are under way end early
        is_coarse = DTYPES[index.schema.dtype] < DTYPES["float32"]
        self._spare = _SPARE if is_coarse else 0
        self._rounding = 1e-2 if is_coarse else 1e-4

    def find_neighbors(
        self, k: int, progress: Progress | None = None
    ) -> Generator[Found, None, None]:
        """Finds the nearest neighbours of each point, without the point itself.

        Args:
            k: the number of neighbours
            progress: called with the number of points searched since the last time

        Yields:
            the rows and distances of the neighbours of each point, nearest first
        """
        search = partial(self._search, k=k)
        for found in self._run(search, self._all_batches(), progress):
            yield from (near for near, _ in found)

    def remember_neighbors(self, k: int, progress: Progress | None = None) -> Found:
        """Finds the nearest neighbours of each point once, for several radii.

        Returns:
            their rows and distances, nearest first: ``k`` columns; the distance is infinity where
            there are fewer
        """
        rows = np.zeros((len(self._ids), k), np.intp)
        distances = np.full((len(self._ids), k), np.inf)
        with closing(self.find_neighbors(k, progress)) as found:
            for row, (near, how_near) in enumerate(found):
                rows[row, : len(near)], distances[row, : len(near)] = near, how_near
        self._known = rows, distances
        return self._known

    def are_crowded(self, radius: float, progress: Progress | None = None) -> bool:
        """Returns whether many points have so many others within a radius that brute force is due.

        A few points are searched for; all others are taken to be like them.

        Args:
            radius: the largest distance
            progress: called after each of the few, with 1
        """
        rows = np.unique(np.linspace(0, len(self._ids) - 1, SAMPLE).astype(int))
        search = partial(self._index.search_ids, k=_WIDEST, within=self._within)
        parts = ([self._ids[row]] for row in rows)
        with closing(many_searches.run_in_flight(self._index.client, search, parts)) as found:
            far = 0
            for [each] in found:
                far += bool(np.any(each.distances[_WIDEST - 1 :] <= radius))
                if progress is not None:
                    progress(1)
        return far > _CROWDED * len(rows)

    def find_within_radius(self, radius: float, progress: Progress | None = None) -> list[Found]:
        """Finds all points within a radius of each point, without the point itself.

        Args:
            radius: the largest distance
            progress: called with the number of points searched since the last time

        Returns:
            the rows and distances of the points within the radius of each point, by row
        """
        found: list[Found | None] = []
        search = partial(self._near, radius=radius)
        for part in self._run(search, self._all_batches(), progress):
            found += part
        crowded = [row for row, near in enumerate(found) if near is None]
        for start in range(0, len(crowded), _SCANNED_AT_ONCE):
            part = crowded[start : start + _SCANNED_AT_ONCE]
            for row, near in zip(part, self._scan(part, radius, progress), strict=True):
                found[row] = near
        return [_by_row(near) for near in found if near is not None]

    def drop_duplicates(self, radius: float, progress: Progress | None = None) -> Kept:
        """Drops every point that lies within a radius of an earlier point that is kept.

        Args:
            radius: the largest distance of a duplicate
            progress: called with the number of points searched since the last time
        """
        count = len(self._ids)
        kept = np.ones(count, dtype=bool)
        nearest, distances = np.full(count, -1), np.full(count, np.inf)
        # Those that are dropped before their batch is due need no search.
        batches = ([row for row in rows if kept[row]] for rows in self._all_batches())
        search = partial(self._near_each, radius=radius)
        for part in self._run(search, batches, progress):
            for row, found in part:
                if not kept[row]:
                    continue
                near, how_near = found or self._scan([row], radius, progress)[0]
                before = kept[near] & (near < row)
                if before.any():  # one that the graph did not find from there
                    kept[row] = False
                    nearest[row], distances[row] = near[before][0], how_near[before][0]
                    continue
                kept[near[near > row]] = False
                closer = how_near < distances[near]
                nearest[near[closer]], distances[near[closer]] = row, how_near[closer]
        return Kept(np.flatnonzero(kept), nearest, distances)

    def _all_batches(self) -> Iterator[list[int]]:
        for rows in many_searches.batches(len(self._ids)):
            yield list(range(rows.start, rows.stop))

    def _run(
        self,
        search: Callable[[list[int]], list[Any]],
        parts: Iterator[list[int]],
        progress: Progress | None = None,
    ) -> Generator[list[Any], None, None]:
        """Searches for batches of the points, a few at a time."""
        sizes = map(len, self._all_batches())
        self._is_over.clear()
        in_flight = many_searches.run_in_flight(
            self._index.client, search, parts, progress, self._is_over
        )
        with closing(in_flight) as found:
            for part in found:
                yield part
                if progress is not None:
                    progress(next(sizes))
        self._confirm()

    def _confirm(self) -> None:
        """Raises an :class:`IndexChangedError` if others have rebuilt the index meanwhile."""
        self._index.existing([])  # reads the definition again if it has changed
        schema = self._index.schema
        if schema.server_name != self.server_name:
            self.server_name = schema.server_name
            raise IndexChangedError(
                f"The index {schema.name!r} was rebuilt or recreated by another process during "
                "this call; try again."
            )

    def _near_each(self, rows: list[int], radius: float) -> list[tuple[int, Found | None]]:
        return list(zip(rows, self._near(rows, radius), strict=True))

    def _near(self, rows: list[int], radius: float) -> list[Found | None]:
        """Finds the points within a radius of each of some points; None where they are too many."""
        done: dict[int, Found] = {}
        if self._known is not None:
            known, how_near = self._known
            for row in rows:
                if how_near[row, -1] > radius:
                    inside = how_near[row] <= radius
                    done[row] = known[row][inside], how_near[row][inside]
        width = _FIRST_WIDTH
        while width <= _WIDEST and (pending := [row for row in rows if row not in done]):
            step = max(1, _HITS_AT_ONCE // width)
            for start in range(0, len(pending), step):
                if self._is_over.is_set():
                    raise CancelledError
                part = pending[start : start + step]
                for row, (found, is_all) in zip(
                    part, self._search(part, width, radius), strict=True
                ):
                    if is_all:
                        done[row] = found
            width *= _WIDER
        return [done.get(row) for row in rows]

    def _search(
        self, rows: list[int], k: int, radius: float | None = None
    ) -> list[tuple[Found, bool]]:
        """Searches for the nearest neighbours of some points.

        Returns:
            for each point its ``k`` nearest others within the radius, and whether there are no more
        """
        index = self._index
        width = k + 1 + self._spare
        found = index.search_ids([self._ids[row] for row in rows], width, within=self._within)
        most = np.inf if radius is None else radius + self._rounding * (1 + abs(radius))
        near = [self._choose(row, each, most) for row, each in zip(rows, found, strict=True)]
        vectors, at = self._read(index, {*rows, *(row for each in near for row in each)})
        results = []
        for row, each, hits in zip(rows, near, found, strict=True):
            exact = exact_search.compute_distances(
                vectors[[at[row]]], vectors[[at[other] for other in each]], index.schema.metric
            )[0]
            others = np.array(each, dtype=int)
            order = np.lexsort((others, exact))[:k]
            if radius is not None:
                order = order[exact[order] <= radius]
            is_all = len(hits.ids) < width or bool(hits.distances[-1] > most)
            results.append(((others[order], exact[order]), is_all))
        return results

    def _choose(self, row: int, found: Neighbors, most: float) -> list[int]:
        """Returns the rows of a point's neighbours, without the point and what is too far away."""
        rows = [self._rows.get(id, row) for id in found.ids]
        return [
            other
            for other, distance in zip(rows, found.distances, strict=True)
            if other != row and distance <= most
        ]

    def _read(self, index: VectorIndex, rows: set[int]) -> tuple[Any, dict[int, int]]:
        """Reads the vectors of some points, and tells the place of each."""
        wanted = sorted(rows)
        # Not by fetch(), which confirms the index each time; see _run.
        documents = Documents(index.client, index.schema)
        found = reading.fetch(documents, [self._ids[row] for row in wanted])
        removed = len(wanted) - len(found.ids)
        if removed:
            raise IncompleteResultError(
                f"Another process or thread removed {format_count(removed, 'embedding')} from the "
                "index while it was searched; call reload() and try again."
            )
        return found.vectors, {row: place for place, row in enumerate(wanted)}

    def _scan(self, rows: list[int], radius: float, progress: Progress | None) -> list[Found]:
        """Compares some points with all vectors, which are read in pages.

        Progress is called with 0 after each page, which may raise to end the work.
        """
        queries, at = self._read(self._index, set(rows))
        queries = queries[[at[row] for row in rows]]
        metric = self._index.schema.metric
        found: list[list[Found]] = [[] for _ in rows]
        for page in self._index.vectors(self._ids):
            places = np.array([self._rows[id] for id in page.ids])
            inside = exact_search.find_within_radius(page.vectors, queries, radius, metric)
            for number, near in enumerate(inside):
                exact = exact_search.compute_distances(
                    queries[[number]], page.vectors[near], metric
                )[0]
                other = places[near] != rows[number]
                found[number].append((places[near][other], exact[other]))
            if progress is not None:
                progress(0)
        joined = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in found]
        return [(near, exact) for near, exact in joined]


def _by_row(found: Found) -> Found:
    order = np.argsort(found[0])
    return found[0][order], found[1][order]
