"""How to answer a query that is restricted to some of the ids. Pure arithmetic, no server.

There are two ways. What is compared can be *filtered* beforehand: the server looks at nothing but
the documents named in the query, by key or by tag, but reads every name; or, where it cannot do
that, those documents are read and compared here. Or the search is made *wider* than k, and what it
finds is filtered here, wider again until k remain. All give the same neighbours. Which one is
cheaper depends on the share of documents that is allowed; if it is not known, a few are looked at
first.

The costs are microseconds measured on one core; only their ratios matter (``docs/benchmarks.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from fiftyone_redis.engine.schema import DTYPES, Schema


@dataclass(frozen=True)
class Learning:
    """What it takes to learn which ids are allowed, in microseconds.

    Args:
        id: for every id that is read
        asked: for every id that is asked about
        question: for asking at all
        document: for every document of the index that is looked at, allowed or not, when all
            allowed ids are read
    """

    id: float = 0.0
    asked: float = 0.0
    question: float = 0.0
    document: float = 0.0


KEYS = "keys"
"""The server filters by the documents' keys."""

TAGS = "tags"
"""The server filters by a tag that holds the documents' ids."""

HERE = "here"
"""The documents are read and compared here."""

_NAME = {KEYS: 2.2, TAGS: 4.2}  # the server reads a key, or a tag, in a query
_HIT = 6.0  # the server returns a document, and it is read here
_BYTES = 20_000.0  # of vectors that the server compares in a microsecond
_GRAPH = 300.0  # the server walks an HNSW graph
_READ = 10.0  # a vector is read from the server
_MULTIPLY = 1 / 25_000  # two values are multiplied here, and added up

_LEAST_WIDTH = 32
_MARGIN = 2.0


def share(kept: int, seen: int) -> float:
    """Estimates which share of the documents is allowed: by the rule of succession, never 0.

    Args:
        kept: how many of those that were looked at are
        seen: how many were looked at
    """
    return (kept + 1) / (seen + 2)


def least_share(kept: int, seen: int) -> float:
    """Estimates with caution which share is allowed: half a standard deviation less.

    A search that turns out too narrow was made for nothing, and few of those that were looked at
    say little: of 1 or 2 in 64, twice as many or half as many would be no surprise.
    """
    return (kept + 1 - sqrt(kept + 1) / 2) / (seen + 2)


def width(k: int, share: float, last: int, size: int) -> int:
    """Returns how wide to search.

    Args:
        k: how many neighbours are wanted
        share: which share of the documents is allowed at least, as far as is known
        last: how wide the last search was, which was too narrow; 0 at first
        size: how many documents the index has
    """
    return max(1, min(size, max(_LEAST_WIDTH, 2 * last, ceil(_MARGIN * k / share))))


def way_to_filter(schema: Schema, by_key: bool) -> str:
    """Returns how to compare with certain documents only.

    Args:
        schema: the index
        by_key: whether the server is known to filter by key before it chooses neighbours
    """
    if by_key and schema.id_field is None:
        return KEYS
    return TAGS if schema.id_field and schema.tag(schema.id_field) else HERE


def filter_is_cheaper(
    schema: Schema, size: int, allowed: int, width: int, learning: Learning, way: str = KEYS
) -> bool:
    """Returns whether to filter beforehand rather than search that wide.

    Args:
        schema: the index
        size: how many documents it has
        allowed: how many ids are allowed, as far as is known
        width: how wide the search would be
        learning: what it takes to learn which ids are allowed
        way: what :func:`way_to_filter` returned
    """
    return _filtering(schema, size, allowed, learning, way) <= _widening(
        schema, size, width, learning
    )


def compare_here(schema: Schema, size: int, queries: int) -> bool:
    """Returns whether to read all vectors and compare them here, rather than ask query by query.

    Args:
        schema: the index; only where it is FLAT are both answers exact
        size: how many documents may be compared
        queries: how many queries there are
    """
    here = size * _comparing_here(schema, queries)
    return schema.algorithm == "FLAT" and here < queries * size * _comparing(schema)


def _comparing(schema: Schema) -> float:
    return schema.dim * DTYPES[schema.dtype] / _BYTES


def _comparing_here(schema: Schema, queries: int = 1) -> float:
    return _READ + queries * schema.dim * _MULTIPLY


def _filtering(schema: Schema, size: int, allowed: int, learning: Learning, way: str) -> float:
    one = _comparing_here(schema) if way == HERE else _NAME[way] + _comparing(schema)
    return allowed * (one + learning.id) + size * learning.document


def _widening(schema: Schema, size: int, width: int, learning: Learning) -> float:
    search = size * _comparing(schema) if schema.algorithm == "FLAT" else _GRAPH
    return search + width * (_HIT + learning.asked) + learning.question
