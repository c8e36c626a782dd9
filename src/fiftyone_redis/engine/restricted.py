"""Searches among some of the ids, however many, by the cheapest way that gives the same answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fiftyone_redis.engine import planner
from fiftyone_redis.engine.planner import Learning
from fiftyone_redis.engine.protocol import Hit
from fiftyone_redis.engine.schema import Schema

Hits = list[Hit]


@runtime_checkable
class Subset(Protocol):
    """Some of the ids of an index, of which it may be costly to know which.

    Attributes:
        learning: about what it takes to learn which they are
        count: how many ids there are, if that is known
    """

    learning: Learning
    count: int | None

    def ids(self, most: int | None) -> list[str] | None:
        """Returns all ids, each once; or None if there are more than ``most`` of them."""

    def kept(self, hits: Hits) -> set[str]:
        """Returns the keys of those documents that are in the subset."""


class IdSubset:
    """Ids that are known.

    Args:
        ids: the ids
        prefix: what their keys start with
    """

    learning = Learning()

    def __init__(self, ids: Sequence[str], prefix: str) -> None:
        self._ids = list(dict.fromkeys(ids))
        self.count: int | None = len(self._ids)
        self._keys = {prefix + id for id in self._ids}

    def ids(self, most: int | None) -> list[str] | None:
        """Returns all ids; see :class:`Subset`."""
        return self._ids if most is None or len(self._ids) <= most else None

    def kept(self, hits: Hits) -> set[str]:
        """Returns the keys of those documents that are in the subset."""
        return {hit.key for hit in hits} & self._keys


@dataclass(frozen=True)
class Searcher:
    """How to ask the server.

    Args:
        schema: the index
        size: how many documents it has
        wide: finds the nearest documents of some of the queries: (numbers of queries, k) -> hits
        filtered: the same among ids: (numbers of queries, k, ids) -> hits
    """

    schema: Schema
    size: int
    wide: Callable[[list[int], int], list[Hits]]
    filtered: Callable[[list[int], int, list[str]], list[Hits]]


def search(searcher: Searcher, subset: Subset, queries: int, k: int) -> list[Hits]:
    """Finds the nearest documents within a subset.

    Args:
        searcher: how to ask the server
        subset: what to choose among
        queries: how many queries there are
        k: how many neighbours each of them wants

    Returns:
        for each query its hits, at least the ``k`` nearest of the subset if it has as many, in no
        order
    """
    everyone = list(range(queries))
    width = planner.first_width(k, searcher.size)
    few = planner.few(searcher.schema, searcher.size, k, subset.learning)
    if subset.count is not None and subset.count <= few:
        return searcher.filtered(everyone, k, subset.ids(None) or [])
    with ThreadPoolExecutor(1) as pool:
        # While the subset is asked whether it is small, the server searches as if it were large.
        small = pool.submit(subset.ids, few)
        first = searcher.wide(everyone, width)
        ids = small.result()
    if ids is not None:
        return searcher.filtered(everyone, k, ids)
    return _widened(searcher, subset, dict(zip(everyone, first, strict=True)), k, width)


def _widened(
    searcher: Searcher, subset: Subset, found: dict[int, Hits], k: int, width: int
) -> list[Hits]:
    """Filters what was found, and asks again for the queries that have fewer than k left."""
    done: dict[int, Hits] = {}
    while True:
        keys = subset.kept([hit for hits in found.values() for hit in hits])
        left = {query: [h for h in hits if h.key in keys] for query, hits in found.items()}
        done |= {query: h for query, h in left.items() if len(h) >= k or width >= searcher.size}
        short = [query for query in left if query not in done]
        if not short:
            return [done[query] for query in sorted(done)]
        kept = min(len(left[query]) for query in short)
        allowed = subset.count or round(searcher.size * (kept + 1) / (width + 2))
        width = planner.next_width(k, kept, width, searcher.size)
        if planner.filter_is_cheaper(
            searcher.schema, searcher.size, allowed, width, subset.learning
        ):
            ids = subset.ids(None) or []
            done |= dict(zip(short, searcher.filtered(short, k, ids), strict=True))
            return [done[query] for query in sorted(done)]
        found = dict(zip(short, searcher.wide(short, width), strict=True))
