"""Searches a subset of the ids by the plan that ``planner.py`` expects to be cheapest.

Every plan returns the same neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.search import planner
from fiftyone_redis.engine.search.planner import MembershipCost

Hits = list[Hit]

_FIRST_SAMPLE = 64  # documents of the sample that are checked first
_TOO_FEW = 4  # members among them: then the rest of the sample is checked too


@runtime_checkable
class Subset(Protocol):
    """Some of the ids of an index. Finding out which ids these are may be costly.

    Attributes:
        cost: what it costs to read the ids, or to check documents for membership
        count: the number of ids, or None if unknown
    """

    cost: MembershipCost
    count: int | None

    def ids(self) -> list[str]:
        """Returns all ids, each once."""

    def find_members(self, hits: Hits) -> set[str]:
        """Returns the ids of the hits that are in the subset."""


class IdSubset:
    """A subset given by a list of ids.

    Args:
        ids: the ids
    """

    cost = MembershipCost()

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = dict.fromkeys(ids)
        self.count: int | None = len(self._ids)

    def ids(self) -> list[str]:
        """Returns all ids, each once."""
        return list(self._ids)

    def find_members(self, hits: Hits) -> set[str]:
        """Returns the ids of the hits that are in the subset."""
        return {hit.id for hit in hits} & self._ids.keys()


@dataclass(frozen=True)
class IndexQueries:
    """The index that a subset search runs on, and the queries that it may send.

    Args:
        schema: the index
        size: the approximate number of documents
        count_documents: returns the exact number
        draw_sample: returns a few documents
        search_all: searches the whole index for some of the queries:
            (numbers of queries, k) -> hits of each
        search_among: searches some ids for some of the queries:
            (numbers of queries, k, ids) -> hits of each
    """

    schema: Schema
    size: int
    count_documents: Callable[[], int]
    draw_sample: Callable[[], Hits]
    search_all: Callable[[list[int], int], list[Hits]]
    search_among: Callable[[list[int], int, list[str]], list[Hits]]


def search(index: IndexQueries, subset: Subset, queries: int, k: int) -> list[Hits]:
    """Finds the nearest documents within a subset.

    Args:
        index: the index and its queries
        subset: the subset to search
        queries: the number of queries
        k: the number of neighbours per query

    Returns:
        the hits of each query, unordered: at least the ``k`` nearest of the subset, or all of its
        documents if it has fewer than ``k``
    """
    pending, size = list(range(queries)), index.size
    share, least_share = _estimate_shares(index, subset)
    done: dict[int, Hits] = {}
    width = planner.choose_width(k, least_share, 0, size)
    while True:
        allowed = subset.count or round(share * size)
        if planner.is_prefilter_cheaper(index.schema, size, allowed, width, subset.cost):
            ids = subset.ids()
            done |= dict(zip(pending, index.search_among(pending, k, ids), strict=True))
            break
        found = dict(zip(pending, index.search_all(pending, width), strict=True))
        members = subset.find_members([hit for hits in found.values() for hit in hits])
        left = {query: [h for h in hits if h.id in members] for query, hits in found.items()}
        done |= {query: h for query, h in left.items() if len(h) >= k}
        pending = [query for query in left if query not in done]
        if pending and width >= size:
            size = index.count_documents()  # the index may have grown
        if not pending or width >= size:
            done |= {query: left[query] for query in pending}
            break
        fewest = min(len(left[query]) for query in pending)
        share = planner.estimate_share(fewest, width)
        least_share = planner.estimate_least_share(fewest, width)
        width = planner.choose_width(k, least_share, width, size)
    return [done[query] for query in sorted(done)]


def _estimate_shares(index: IndexQueries, subset: Subset) -> tuple[float, float]:
    """Estimates the share of the documents in the subset: the likely one and a cautious one."""
    if subset.count is not None:
        known = min(1.0, (subset.count + 1) / (index.size + 1))
        return known, known
    drawn = index.draw_sample()
    checked = min(len(drawn), _FIRST_SAMPLE)
    members = len(subset.find_members(drawn[:checked]))
    if 0 < members <= _TOO_FEW and checked < len(drawn):
        members, checked = members + len(subset.find_members(drawn[_FIRST_SAMPLE:])), len(drawn)
    return planner.estimate_share(members, checked), planner.estimate_least_share(members, checked)
