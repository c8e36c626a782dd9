"""The neighbours of all points of the current view, and near duplicates among them.

A large index that walks a graph is searched once for each point; all others are compared pair by
pair in this process. ``planner.plan_all_points`` chooses; long work first says how long it takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from fiftyone.brain.similarity import DuplicatesMixin

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.search import exact_search, planner
from fiftyone_redis.engine.search.exact_search import Floats, Kept, Rows
from fiftyone_redis.engine.search.knn_search import read_count
from fiftyone_redis.errors import InputError
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity.graph_points import SAMPLE, GraphPoints
from fiftyone_redis.similarity.ids import strings
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.query_forms import read_number
from fiftyone_redis.similarity.thread_views import PerThread

_LONG_SECONDS = 10.0
_FEW = 8  # neighbours: about how many are looked at to find near duplicates
_REMEMBERED = 16  # neighbours of each point, while a threshold is searched for

logger = get_logger(__name__)

Announce = Callable[[str, float], None]
"""Called before long work, with a sentence about it and how many seconds it takes."""


@dataclass(frozen=True)
class NearPoints:
    """The nearest neighbours of all points, and what to keep of near duplicates.

    Args:
        ids: the ids of the points; a row is a position among them
        nearest: the distance of each to its nearest neighbour; infinity if it has none
        partners: the rows of these neighbours
        kept: what remains if near duplicates are dropped
    """

    ids: list[str]
    nearest: Floats
    partners: Rows
    kept: Kept


def _log(text: str, seconds: float) -> None:
    del seconds
    logger.info(text)


class AllPointsMixin(DuplicatesMixin):
    """The part of a similarity index that compares all points of the current view.

    It goes before :class:`~fiftyone_redis.similarity.current_view.CurrentView`, which has the view.
    """

    _graph = PerThread()
    _kept = PerThread()
    _reason = PerThread()

    def find_unique(self, count: int) -> None:
        """Finds samples or patches that are as different from each other as possible.

        See :meth:`fiftyone.brain.similarity.DuplicatesMixin.find_unique`.
        """
        super().find_unique(read_count("count", count, 0))

    def find_duplicates(self, thresh: float | None = None, fraction: float | None = None) -> None:
        """Finds near-duplicates, by their distance or their number.

        See :meth:`fiftyone.brain.similarity.DuplicatesMixin.find_duplicates`.
        """
        thresh = None if thresh is None else read_number("thresh", thresh)
        fraction = None if fraction is None else read_number("fraction", fraction)
        ids = strings(self._current_ids())
        logger.info("Computing duplicates among %d embeddings...", len(ids))
        if fraction is not None:
            count = round(min(max(0.0, 1.0 - fraction), 1.0) * len(ids))
            unique_ids, thresh = self._remove_duplicates_count(count, ids, init_thresh=thresh)
        elif thresh is not None:
            unique_ids = self._remove_duplicates_thresh(thresh, ids)
        else:
            raise InputError("Provide thresh, a distance, or fraction, a share of the samples.")
        unique = set(unique_ids)
        self._thresh = thresh
        self._unique_ids = unique_ids
        self._duplicate_ids = [id for id in ids if id not in unique]
        self._neighbors_map = self._map_duplicates(ids) if unique and self._duplicate_ids else {}

    def find_near(
        self, thresh: float, progress: Any = None, announce: Announce = _log
    ) -> NearPoints:
        """Finds the nearest neighbour of each point of the current view, and near duplicates.

        Args:
            thresh: the largest distance of near duplicates
            progress (None): as for FiftyOne's progress bars; a callback may raise to end the work
            announce: called before long work; by default it is logged
        """
        ids = strings(self._current_ids())
        with progress_bar(SAMPLE, progress, "Sampling") as bar:
            graph = self._choose_graph(_FEW, thresh, bar.update, announce)
        if graph is None:
            points = self._points_to_compare(progress, announce)
            return NearPoints(ids, *compare_pairs(points, thresh, self._metric(), progress))
        with progress_bar(len(ids), progress, "Searching") as bar:
            rows, distances = graph.remember_neighbors(_FEW, bar.update)
        with progress_bar(len(ids), progress, "Grouping") as bar:
            kept = graph.drop_duplicates(thresh, bar.update)
        return NearPoints(ids, distances[:, 0], rows[:, 0], kept)

    def _map_duplicates(self, ids: Any) -> dict[Any, list[tuple[Any, float]]]:
        """Returns the duplicates of each point that is kept and their distances, nearest first."""
        kept = self._kept
        dropped = np.setdiff1d(np.arange(len(ids)), kept.rows)
        found = defaultdict(list)
        for row in dropped[np.argsort(kept.distances[dropped], kind="stable")]:
            found[ids[kept.nearest[row]]].append((ids[row], float(kept.distances[row])))
        return dict(found)

    def _remove_duplicates_count(self, num_keep: int, ids: Any, init_thresh: Any = None) -> Any:
        if 0 < num_keep < len(ids) and (points := self._choose_graph(_FEW)):
            with progress_bar(len(ids), caption="Searching") as bar:
                points.remember_neighbors(_REMEMBERED, bar.update)
        return super()._remove_duplicates_count(num_keep, ids, init_thresh=init_thresh)

    def _remove_duplicates_thresh(self, thresh: float, ids: Any) -> list[str]:
        # FiftyOne's own method first finds the neighbours of all points: with a large threshold,
        # these are all pairs of points.
        self._kept = kept = self._drop_duplicates(thresh)
        return [ids[row] for row in kept.rows]

    def _drop_duplicates(self, thresh: float) -> Kept:
        graph = self._choose_graph(_FEW, thresh)
        if graph is not None:
            with progress_bar(len(self._current_ids()), caption="Searching") as bar:
                return graph.drop_duplicates(thresh, bar.update)
        points = self._points_to_compare()
        with progress_bar(len(points), caption="Comparing") as bar:
            return exact_search.assign_duplicates(points, thresh, self._metric(), bar.update)

    def _find_neighbors_of_all(self, k: int) -> tuple[list[Rows], list[Floats]]:
        """Returns the rows and distances of the nearest neighbours of each point of the view."""
        graph, count = self._choose_graph(k), len(self._current_ids())
        if graph is not None:
            finds = graph.find_neighbors(k)
        else:
            points = self._points_to_compare()
            finds = exact_search.find_neighbors(points, None, k, self._metric())
        inds, dists = [], []
        caption = "Comparing" if graph is None else "Searching"
        with progress_bar(count, caption=caption) as bar, closing(finds) as found:
            for near, how_near in found:
                inds.append(near)
                dists.append(how_near)
                bar.update()
        return inds, dists

    def _find_within_radius_of_all(self, thresh: float) -> tuple[list[Rows], list[Floats]]:
        """Returns the rows and distances of the points within a radius of each point."""
        graph = self._choose_graph(_FEW, thresh)
        if graph is not None:
            with progress_bar(len(self._current_ids()), caption="Searching") as bar:
                found = graph.find_within_radius(thresh, bar.update)
            return [near for near, _ in found], [how_near for _, how_near in found]
        points, metric = self._points_to_compare(), self._metric()
        inds = list(exact_search.find_within_radius(points, None, thresh, metric))
        return inds, [
            exact_search.compute_distances(points[[row]], points[near], metric)[0]
            for row, near in enumerate(inds)
        ]

    def _choose_graph(
        self,
        k: int,
        radius: float | None = None,
        progress: Progress | None = None,
        announce: Announce = _log,
    ) -> GraphPoints | None:
        """Returns the points to search for in the graph, or None to compare all pairs here."""
        index, count = self._open_current_index(), len(self._current_ids())
        plan = planner.plan_all_points(index.schema, len(index), count, k)
        self._reason = plan.reason
        if not plan.uses_graph:
            return None
        graph: GraphPoints | None = self._graph
        if graph is None or graph.server_name != index.schema.server_name:
            own = self.config.open_index(self._redis, tags=())
            self._graph = graph = GraphPoints(own, strings(self._current_ids()))
        if radius is not None and graph.are_crowded(radius, progress):
            self._reason = "too many embeddings are within the distance of each"
            return None
        _announce("Searching the graph for each of", count, plan.seconds, plan.reason, announce)
        return graph

    def _points_to_compare(self, progress: Any = None, announce: Announce = _log) -> Any:
        """Returns the embeddings of all points, and says how long it takes to compare all pairs."""
        points = self._current_points(progress)
        seconds = exact_search.estimate_seconds(points, self._metric())
        _announce("Comparing all pairs of", len(points), seconds, self._reason, announce)
        return points

    def _metric(self) -> str:
        """Returns the metric of the index that the points were read from."""
        index: VectorIndex = self._open_index()
        return index.schema.metric

    def _clear_cache(self) -> None:
        super()._clear_cache()
        self._graph = self._kept = None


def compare_pairs(
    points: Any, thresh: float, metric: str, progress: Any = None
) -> tuple[Floats, Rows, Kept]:
    """Compares all pairs of points.

    Returns:
        the distance and row of each point's nearest neighbour, and what to keep of near duplicates
    """
    count = len(points)
    nearest, partners = np.full(count, np.inf), np.arange(count)
    finds = exact_search.find_neighbors(points, None, 1, metric)
    with progress_bar(count, progress, "Comparing") as bar, closing(finds) as found:
        for row, (near, how_near) in enumerate(found):
            if len(near):
                nearest[row], partners[row] = how_near[0], near[0]
            bar.update()
    rows = np.flatnonzero(nearest <= thresh)  # no others can be duplicates
    with progress_bar(len(rows), progress, "Grouping") as bar:
        among = exact_search.assign_duplicates(points[rows], thresh, metric, bar.update)
    leaders, distances = np.full(count, -1), np.full(count, np.inf)
    leaders[rows] = np.where(among.nearest >= 0, rows[among.nearest], -1)
    distances[rows] = among.distances
    return nearest, partners, Kept(np.flatnonzero(leaders < 0), leaders, distances)


def _announce(what: str, count: int, seconds: float, reason: str, announce: Announce) -> None:
    """Says how long work takes, before it begins, if that is long."""
    if seconds >= _LONG_SECONDS:
        takes = planner.describe_time(seconds)
        announce(f"{what} {count:,} embeddings in about {takes}: {reason}.", seconds)
