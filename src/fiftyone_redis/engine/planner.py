"""How to answer a query that is restricted to some of the ids. Pure arithmetic, no server.

There are two ways. The server can *filter* beforehand: it looks at nothing but the documents whose
keys are named in the query, but reads every name. Or the search is made *wider* than k, and what it
finds is filtered here, wider again until k remain. Both give the same neighbours. Which one is
cheaper depends on the share of documents that is allowed; if it is not known, a few are looked at
first.

The costs are microseconds measured on one core; only their ratios matter (``docs/benchmarks.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from fiftyone_redis.engine.options import DTYPES
from fiftyone_redis.engine.schema import Schema


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


_KEY = 2.2  # the server reads a key in a query
_LOOK_UP = 6.5  # the server finds the key of an id that a tag holds
_WALK = 5.0  # the id of a document is read, to find the keys of ids that no tag holds
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


def filter_is_cheaper(
    schema: Schema, size: int, allowed: int, width: int, learning: Learning
) -> bool:
    """Returns whether to filter beforehand rather than search that wide.

    Args:
        schema: the index
        size: how many documents it has
        allowed: how many ids are allowed, as far as is known
        width: how wide the search would be
        learning: what it takes to learn which ids are allowed
    """
    return _filtering(schema, size, allowed, learning) <= _widening(schema, size, width, learning)


def compare_here(schema: Schema, size: int, queries: int) -> bool:
    """Returns whether to read all vectors and compare them here, rather than ask query by query.

    Args:
        schema: the index; only where it is FLAT are both answers exact
        size: how many documents may be compared
        queries: how many queries there are
    """
    here = size * (_READ + queries * schema.dim * _MULTIPLY)
    return schema.algorithm == "FLAT" and here < queries * size * _comparing(schema)


def _comparing(schema: Schema) -> float:
    return schema.dim * DTYPES[schema.dtype] / _BYTES


def _filtering(schema: Schema, size: int, allowed: int, learning: Learning) -> float:
    one = _KEY + _comparing(schema) + learning.id
    return allowed * one + _looking_up(schema, size, allowed) + size * learning.document


def _looking_up(schema: Schema, size: int, allowed: int) -> float:
    if schema.is_direct:
        return 0
    by_walking = schema.id_field is not None and schema.tag(schema.id_field) is None
    return size * _WALK if by_walking else allowed * _LOOK_UP


def _widening(schema: Schema, size: int, width: int, learning: Learning) -> float:
    search = size * _comparing(schema) if schema.algorithm == "FLAT" else _GRAPH
    return search + width * (_HIT + learning.asked) + learning.question
