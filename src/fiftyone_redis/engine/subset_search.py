"""Searches among some of the ids, however many, by the cheapest way that gives the same answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fiftyone_redis.engine import planner
from fiftyone_redis.engine.planner import Learning
from fiftyone_redis.engine.replies import Hit
from fiftyone_redis.engine.schema import Schema

Hits = list[Hit]

_FIRST_LOOK = 64  # documents of the sample
_TOO_FEW = 4  # of them in the subset, to tell how large it is: more are looked at


@runtime_checkable
class Subset(Protocol):
    """Some of the ids of an index, of which it may be costly to know which.

    Attributes:
        learning: about what it takes to learn which they are
        count: how many ids there are, if that is known
    """

    learning: Learning
    count: int | None

    def ids(self) -> list[str]:
        """Returns all ids, each once."""

    def kept(self, hits: Hits) -> set[str]:
        """Returns the ids of those documents that are in the subset."""


class IdSubset:
    """Ids that are known.

    Args:
        ids: the ids
    """

    learning = Learning()

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = dict.fromkeys(ids)
        self.count: int | None = len(self._ids)

    def ids(self) -> list[str]:
        """Returns all ids, each once."""
        return list(self._ids)

    def kept(self, hits: Hits) -> set[str]:
        """Returns the ids of those documents that are in the subset."""
        return {hit.id for hit in hits} & self._ids.keys()


@dataclass(frozen=True)
class Searcher:
    """How to ask the server.

    Args:
        schema: the index
        size: about how many documents it has
        count: counts them
        sample: draws a few documents
        wide: finds the nearest documents of some of the queries: (numbers of queries, k) -> hits
        filtered: the same among ids: (numbers of queries, k, ids) -> hits
    """

    schema: Schema
    size: int
    count: Callable[[], int]
    sample: Callable[[], Hits]
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
    asked, size = list(range(queries)), searcher.size
    share, least = _shares(searcher, subset)
    done: dict[int, Hits] = {}
    width = planner.width(k, least, 0, size)
    while True:
        allowed = subset.count or round(share * size)
        if planner.filter_is_cheaper(searcher.schema, size, allowed, width, subset.learning):
            ids = subset.ids()
            done |= dict(zip(asked, searcher.filtered(asked, k, ids), strict=True))
            break
        found = dict(zip(asked, searcher.wide(asked, width), strict=True))
        kept = subset.kept([hit for hits in found.values() for hit in hits])
        left = {query: [h for h in hits if h.id in kept] for query, hits in found.items()}
        done |= {query: h for query, h in left.items() if len(h) >= k}
        asked = [query for query in left if query not in done]
        if asked and width >= size:
            size = searcher.count()  # the index may have grown
        if not asked or width >= size:
            done |= {query: left[query] for query in asked}
            break
        fewest = min(len(left[query]) for query in asked)
        share, least = planner.share(fewest, width), planner.least_share(fewest, width)
        width = planner.width(k, least, width, size)
    return [done[query] for query in sorted(done)]


def _shares(searcher: Searcher, subset: Subset) -> tuple[float, float]:
    """Estimates which share of the documents is in the subset, from a few of them, and at least."""
    if subset.count is not None:
        known = min(1.0, (subset.count + 1) / (searcher.size + 1))
        return known, known
    drawn = searcher.sample()
    kept, seen = len(subset.kept(drawn[:_FIRST_LOOK])), min(len(drawn), _FIRST_LOOK)
    if 0 < kept <= _TOO_FEW and seen < len(drawn):
        kept, seen = kept + len(subset.kept(drawn[_FIRST_LOOK:])), len(drawn)
    return planner.share(kept, seen), planner.least_share(kept, seen)
