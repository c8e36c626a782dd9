"""Answers queries: k neighbours of one, several or all points, and neighbours within a radius.

The formats of results are those of :meth:`fiftyone.brain.similarity.SimilarityIndex._kneighbors`
and :meth:`fiftyone.brain.similarity.DuplicatesMixin._radius_neighbors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from bson import ObjectId

from fiftyone_redis.engine import Neighbors, VectorIndex
from fiftyone_redis.engine.schema.options import check_choice
from fiftyone_redis.engine.search import exact_search, many_searches
from fiftyone_redis.engine.search.knn_search import read_k
from fiftyone_redis.engine.search.subset_search import IdSubset, Subset
from fiftyone_redis.engine.vectors import checks, encoding
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.aggregation import aggregate_neighbors
from fiftyone_redis.similarity.all_points import AllPointsMixin
from fiftyone_redis.similarity.current_view import CurrentView
from fiftyone_redis.similarity.existing import (
    Search,
    note_samples,
    search_each_slice,
    search_existing,
)
from fiftyone_redis.similarity.graph_points import CANDIDATES
from fiftyone_redis.similarity.ids import report_missing, strings
from fiftyone_redis.similarity.query_forms import read_number, read_query, shorten
from fiftyone_redis.similarity.read_ahead import ReadAhead
from fiftyone_redis.similarity.thread_views import PerThread
from fiftyone_redis.similarity.view_subset import ViewSubset

AGGREGATIONS: dict[str, Callable[..., Any]] = {
    "post-mean": np.nanmean,
    "post-min": np.nanmin,
    "post-max": np.nanmax,
}
"""Functions that aggregate the distances of several queries. ("mean" averages the queries.)"""


@dataclass(frozen=True)
class _Planned:
    """A search that was planned: where it begins, and what its results are narrowed down to."""

    index: VectorIndex
    search: Search
    within: Subset | None
    subset: ViewSubset | None
    k: int | None
    reverse: bool


class NeighborsMixin(AllPointsMixin, CurrentView):
    """The part of a similarity index that answers queries within the current view."""

    _sorts = PerThread(lambda _: False)
    _ahead = PerThread(lambda _: ReadAhead())
    _index_for_many = PerThread()

    def sort_by_similarity(
        self,
        query: Any,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str = "mean",
        dist_field: str | None = None,
        _mongo: bool = False,
    ) -> Any:
        """Returns a view sorted by similarity to a query.

        See :meth:`fiftyone.brain.similarity.SimilarityIndex.sort_by_similarity`.
        """
        in_labels = self.config.patches_field is not None and not self.view._is_patches
        if dist_field is not None and in_labels:
            # FiftyOne 1.22 fails when it is to store the distances of labels outside of a patches
            # view, with every backend; they are stored here.
            query = self._parse_query(query)
            _, label_ids, dists = self._kneighbors(query, k, reverse, aggregation, True)
            _, path = self.view._get_label_field_path(self.config.patches_field, dist_field)
            distances = dict(zip(label_ids, dists, strict=True))
            self.view.set_label_values(path, distances, dynamic=True)
            dist_field = None
        self._sorts = True
        try:
            return super().sort_by_similarity(
                query,
                k=k,
                reverse=reverse,
                aggregation=aggregation,
                dist_field=dist_field,
                _mongo=_mongo,
            )
        finally:
            self._sorts = False

    def _parse_query(self, query: Any) -> Any:
        query = read_query(query)
        texts = [query] if isinstance(query, str) else query
        # FiftyOne 1.5 says so in the config alone
        takes_prompts = getattr(self, "supports_prompts", self.config.supports_prompts)
        if isinstance(texts, list) and not ObjectId.is_valid(texts[0]) and not takes_prompts:
            raise InputError(
                f"{shorten(texts[0])} is not an id, and this index has no model that embeds "
                "prompts; provide an id or a vector."
            )
        return super()._parse_query(query)

    def find_nearest(self, query: Any, k: int) -> tuple[Any, Any, Any]:
        """Finds the nearest samples or patches, without a view of them.

        Args:
            query: an id, a vector, or a text if the model embeds those
            k: how many to find

        Returns:
            the sample ids, the label ids (None in an index of samples), and the distances, in order
        """
        found: tuple[Any, Any, Any] = self._kneighbors(
            query=self._parse_query(query), k=k, aggregation="mean", return_dists=True
        )
        return found

    def _kneighbors(
        self,
        query: Any = None,
        k: int | None = None,
        reverse: bool = False,
        aggregation: str | None = None,
        return_dists: bool = False,
    ) -> Any:
        if aggregation is not None:
            check_choice("aggregation", aggregation, self.config.supported_aggregations)
        if k is not None:
            k = read_k(k)
        if query is not None:
            query = read_query(query)
        if query is not None and self.was_never_filled():
            return self._find_nothing(query, aggregation, return_dists)
        index = self._open_index()
        if query is None:
            return self._neighbors_of_all(k, reverse, aggregation, return_dists)

        ids, single = _read_ids(query)
        plan = partial(self._plan, ids=ids, k=k, reverse=reverse, aggregation=aggregation)
        if ids is None and query.ndim == 2 and aggregation is None and k is not None:
            plan = partial(plan, subset=self._subset_of(query))
            search = partial(self._search, plan, index)
            search_many = partial(self._search_many, plan)
            found = self._ahead.search(query, (k, reverse), search, search_many)
        else:
            planned = plan(index, query)
            found = self._complete(planned, planned.search(within=planned.within))
        return self._format_results(found, single or aggregation is not None, return_dists)

    def _search_many(self, plan: Callable[..., _Planned], rows: Any) -> list[Neighbors]:
        """Searches for many rows, with as many candidates as for all points."""
        if self._index_for_many is None:
            self._index_for_many = index = self.config.open_index(self._redis)
            index.schema = many_searches.choose_candidates(index.schema, CANDIDATES)
        return self._search(plan, self._index_for_many, rows)

    def _search(
        self, plan: Callable[..., _Planned], index: VectorIndex, query: Any
    ) -> list[Neighbors]:
        planned = plan(index, query)
        return self._complete(planned, planned.search(within=planned.within))

    def _plan(
        self,
        index: VectorIndex,
        query: Any,
        ids: list[str] | None,
        k: int | None,
        reverse: bool,
        aggregation: str | None,
        subset: ViewSubset | None = None,
    ) -> _Planned:
        """Chooses how to search for the neighbours of each query that are in the view."""
        subset = subset or self._subset()
        within, most = self._choose_documents(index, subset, k)
        search = self._make_search(index, query, ids, most, reverse, aggregation)
        return _Planned(index, search, within, subset, k, reverse)

    def _complete(self, planned: _Planned, found: list[Neighbors]) -> list[Neighbors]:
        """Returns what was found, with others in the place of what is not in the view."""
        subset, k, search = planned.subset, planned.k, planned.search
        sorts_slices = planned.within is None and self._sorts and self._is_grouped_dataset()
        if sorts_slices:
            subset = self._slices()
        if sorts_slices and k is not None:
            known = self._find_some_slices(planned.index)
            found = search_each_slice(search, self._slices, found, known, planned.reverse)
        elif planned.within is None and subset is not None:
            found = search_existing(search, subset, found, k)
        if self.config.patches_field is not None and subset is not None:
            found = note_samples(found, subset, self._sample_tag)
        return found

    def _choose_documents(
        self, index: VectorIndex, subset: ViewSubset | None, k: int | None
    ) -> tuple[Subset | None, int]:
        """Returns the documents to search first, and k: the number of documents if k is None."""
        if not self.has_view:
            return None, max(1, len(index)) if k is None else k
        if k is not None:
            return subset, k
        ids = IdSubset(strings(self._current_ids()))
        return ids, max(1, len(ids.ids()))

    def _make_search(
        self,
        index: VectorIndex,
        query: Any,
        ids: list[str] | None,
        k: int,
        reverse: bool,
        aggregation: str | None,
    ) -> Search:
        """Returns the search for a query, which takes the subset to search in as ``within``."""
        if ids is not None and (aggregation is None or (aggregation == "mean" and len(ids) == 1)):
            return partial(index.search_ids, ids, k, farthest=reverse)
        queries = self._query_vectors(index, query, ids)
        if aggregation in AGGREGATIONS:
            return partial(
                aggregate_neighbors,
                index,
                queries,
                ids,
                AGGREGATIONS[aggregation],
                k,
                is_whole=not self.has_view,
                farthest=reverse,
            )
        if aggregation == "mean":
            queries = queries.mean(axis=0, keepdims=True)
        return partial(index.search, queries, k, farthest=reverse)

    def _clear_cache(self) -> None:
        super()._clear_cache()
        self._ahead, self._index_for_many = ReadAhead(), None

    def _find_nothing(self, query: Any, aggregation: str | None, return_dists: bool) -> Any:
        """Returns what a query finds in an index to which nothing was ever added."""
        ids, single = _read_ids(query)
        report_missing(ids or [], [], allow_missing=False)
        single = single or aggregation is not None
        nothing = Neighbors([], np.zeros(0), {self._sample_tag: []})
        return self._format_results([nothing] * (1 if single else len(query)), single, return_dists)

    def _format_results(self, found: list[Neighbors], single: bool, return_dists: bool) -> Any:
        """Returns neighbours as FiftyOne expects them: sample ids, label ids, distances."""
        ids: list[Any] = [neighbors.ids for neighbors in found]
        if self.config.patches_field is None:
            columns = [ids, None]
        else:
            columns = [[neighbors.tags[self._sample_tag] for neighbors in found], ids]
        if return_dists:
            columns.append([neighbors.distances.tolist() for neighbors in found])
        if single:
            columns = [None if column is None else column[0] for column in columns]
        return tuple(columns)

    def _neighbors_of_all(
        self, k: int | None, reverse: bool, aggregation: str | None, return_dists: bool
    ) -> Any:
        """Returns the neighbours of all points of the view, as indices of points."""
        if aggregation is not None or reverse:
            raise InputError(
                "The neighbors of all points can neither be aggregated nor reversed; provide a "
                "query."
            )
        most = max(0, len(self._current_ids()) - 1) if k is None else k
        inds, distances = self._find_neighbors_of_all(most)
        return (inds, distances) if return_dists else inds

    def _radius_neighbors(
        self, query: Any = None, thresh: float | None = None, return_dists: bool = False
    ) -> Any:
        if thresh is None:
            raise InputError("A radius query needs a threshold; provide thresh.")
        thresh = read_number("thresh", thresh)
        if query is None:
            near_all, how_near = self._find_within_radius_of_all(thresh)
            return (near_all, how_near) if return_dists else near_all
        query = read_query(query)
        ids, single = _read_ids(query)
        queries = self._query_vectors(self._open_index(), query, ids)
        points, metric = self._current_points(), self._metric()
        inds = list(exact_search.find_within_radius(points, queries, thresh, metric))
        found = []
        for row, near in enumerate(inds):
            distances = exact_search.compute_distances(queries[[row]], points[near], metric)[0]
            samples = {self._sample_tag: strings(self.current_sample_ids[near])}
            found.append(Neighbors(strings(self._current_ids()[near]), distances, samples))
        return self._format_results(found, single, return_dists)

    def _query_vectors(self, index: VectorIndex, query: Any, ids: list[str] | None) -> Any:
        """Returns the vectors of a query as a matrix; fetches them if the query consists of ids."""
        if ids is None:
            return checks.as_matrix(np.atleast_2d(np.asarray(query)), index.schema.dim)
        found = index.fetch(ids)
        report_missing(ids, found.ids, allow_missing=False)
        return found.vectors


def _read_ids(query: str | list[str] | encoding.Array) -> tuple[list[str] | None, bool]:
    """Returns the ids of a query, None if it is vectors; and whether it is a single one."""
    if isinstance(query, str):
        return [query], True
    if isinstance(query, list):
        return query, False
    return None, query.ndim == 1
