"""Plans how to search a subset of the ids. Pure arithmetic, no server.

There are two plans. A *pre-filter* names the keys of the subset in the query: the server compares
only these documents, but parses every key. A *wide search* asks for more candidates than k and
drops those outside the subset; it asks for more until k remain. Both return the same neighbours.
Which one is cheaper depends on the share of documents in the subset. An unknown share is estimated
from a sample.

Costs are microseconds measured on one core; only their ratios matter (``docs/benchmarks.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.schema.schema import Schema


@dataclass(frozen=True)
class MembershipCost:
    """The cost of finding out which ids are in a subset, in microseconds.

    Args:
        per_id_read: for each id of the subset, when all of them are read
        per_id_checked: for each candidate that is checked for membership
        per_query: for each round of membership checks
        per_document: for each document of the index, when all ids of the subset are read
    """

    per_id_read: float = 0.0
    per_id_checked: float = 0.0
    per_query: float = 0.0
    per_document: float = 0.0


_KEY = 2.2  # the server parses one key of a query
_LOOK_UP = 6.5  # the server finds the key of one id, by a TAG field
_WALK = 5.0  # one id is read while all documents are walked, if no TAG field holds the ids
_HIT = 6.0  # the server returns one document, and the reply is parsed
_BYTES = 20_000.0  # bytes of vectors that the server compares in one microsecond
_GRAPH = 300.0  # the server walks an HNSW graph of up to this size:
_GRAPH_SIZE = 20_000
_GRAPH_GROWTH = 0.25  # the power of the size with which that grows, as caches help less and less
_READ = 10.0  # one vector is read from the server
_MULTIPLY = 1 / 25_000  # one multiply-add of brute force in this process
_PAIR = 0.004  # one pair of points is compared in this process, and as much for each value:
_PAIR_VALUE = 1 / 70_000

_MIN_WIDTH = 32
_MARGIN = 2.0


def estimate_share(kept: int, seen: int) -> float:
    """Estimates the share of documents in the subset by the rule of succession, so never as 0.

    Args:
        kept: the number of checked documents that are in the subset
        seen: the number of checked documents
    """
    return (kept + 1) / (seen + 2)


def estimate_least_share(kept: int, seen: int) -> float:
    """Estimates the share cautiously: half a standard deviation lower.

    A wide search with too few candidates is wasted, and a small sample says little: 1 or 2 in 64
    may well stand for twice or half that share.
    """
    return (kept + 1 - sqrt(kept + 1) / 2) / (seen + 2)


def choose_width(k: int, share: float, last: int, size: int) -> int:
    """Returns how many candidates a wide search asks for.

    Args:
        k: the number of neighbours
        share: the cautious estimate of the share of documents in the subset, 0..1
        last: the width of the last search, which had too few candidates; 0 at first
        size: the number of documents in the index
    """
    return max(1, min(size, max(_MIN_WIDTH, 2 * last, ceil(_MARGIN * k / share))))


def is_prefilter_cheaper(
    schema: Schema, size: int, allowed: int, width: int, cost: MembershipCost
) -> bool:
    """Returns whether a pre-filter costs no more than a wide search.

    Args:
        schema: the index
        size: the number of documents in the index
        allowed: the number of ids in the subset, estimated if unknown
        width: the number of candidates that the wide search would ask for
        cost: what it costs to find out which ids are in the subset
    """
    return _prefilter_cost(schema, size, allowed, cost) <= _wide_search_cost(
        schema, size, width, cost
    )


def is_brute_force_cheaper(schema: Schema, size: int, queries: int) -> bool:
    """Returns whether brute force in this process is cheaper than one server query per vector.

    Args:
        schema: the index; False unless it is FLAT, as only then both answers are exact
        size: the largest number of documents to compare
        queries: the number of queries
    """
    here = size * (_READ + queries * schema.dim * _MULTIPLY)
    return schema.algorithm == "FLAT" and here < queries * size * _comparison_cost(schema)


@dataclass(frozen=True)
class AllPointsPlan:
    """How to search for the neighbours of all points.

    Args:
        uses_graph: whether the server's graph is walked for each point; else all pairs of points
            are compared in this process
        seconds: about how long that takes
        reason: why it is the better way, for the log
    """

    uses_graph: bool
    seconds: float
    reason: str


def plan_all_points(schema: Schema, size: int, points: int, k: int) -> AllPointsPlan:
    """Plans how to search for the ``k`` nearest neighbours of each of some points among them.

    Args:
        schema: the index
        size: the number of documents in the index
        points: the number of points
        k: the number of neighbours
    """
    pairs = points * points * (_PAIR + schema.dim * _PAIR_VALUE) / 1e6
    if schema.algorithm == "FLAT":
        return AllPointsPlan(False, pairs, "FLAT has no graph to search; HNSW has")
    width = k * max(1.0, size / max(1, points))
    walk = _GRAPH * max(1.0, size / _GRAPH_SIZE) ** _GRAPH_GROWTH
    walks = points * (walk + width * _HIT + k * _READ) / 1e6
    if walks < pairs:
        return AllPointsPlan(
            True, walks, f"brute force would take {pairs / walks:.1f} times as long"
        )
    return AllPointsPlan(False, pairs, "it is faster here than to walk the graph")


def describe_time(seconds: float) -> str:
    """Formats a time that is only about right: ``"90 ms"``, ``"12 minutes"``."""
    for limit, size, unit in ((1, 1e-3, "ms"), (120, 1, "seconds"), (7200, 60, "minutes")):
        if seconds < limit:
            number = seconds / size
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{seconds / 3600:.0f} hours"


def _comparison_cost(schema: Schema) -> float:
    return schema.dim * DTYPES[schema.dtype] / _BYTES


def _prefilter_cost(schema: Schema, size: int, allowed: int, cost: MembershipCost) -> float:
    one = _KEY + _comparison_cost(schema) + cost.per_id_read
    return allowed * one + _key_lookup_cost(schema, size, allowed) + size * cost.per_document


def _key_lookup_cost(schema: Schema, size: int, allowed: int) -> float:
    if schema.has_direct_keys:
        return 0
    by_walking = schema.id_field is not None and schema.tag(schema.id_field) is None
    return size * _WALK if by_walking else allowed * _LOOK_UP


def _wide_search_cost(schema: Schema, size: int, width: int, cost: MembershipCost) -> float:
    search = size * _comparison_cost(schema) if schema.algorithm == "FLAT" else _GRAPH
    return search + width * (_HIT + cost.per_id_checked) + cost.per_query
