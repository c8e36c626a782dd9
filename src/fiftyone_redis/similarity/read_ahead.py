"""Searches ahead for callers that ask about a large array a few rows at a time.

FiftyOne's ``compute_uniqueness()`` asks for the neighbours of 10 embeddings, waits for them, and
asks for those of the next 10. So once two queries follow one another in the same array, the rows
after them are searched for too, many at once.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from fiftyone_redis.engine import Neighbors
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import InputError

_MOST = 1024  # rows
_FASTER = 8  # times as many rows ahead as have been asked about
_FRESH = 5.0  # seconds after which others may have changed the index

Search = Callable[[Array], list[Neighbors]]


class ReadAhead:
    """What was found for the rows of an array that the next queries are likely to hold."""

    def __init__(self) -> None:
        self._whole: Callable[[], Any] = lambda: None
        self._settings: Hashable = None
        self._next = self._asked = self._first = 0
        self._rows: Array = np.zeros((0, 0))
        self._found: list[Neighbors] = []
        self._until = 0.0

    def search(
        self, query: Array, settings: Hashable, search: Search, search_many: Search
    ) -> list[Neighbors]:
        """Returns the neighbours of each row of a query, searched for now or ahead.

        Args:
            query: the rows
            settings: what else the answer depends on
            search: searches for the query
            search_many: searches for many rows
        """
        whole, first = _locate(query)
        goes_on = whole is not None and whole is self._whole() and first == self._next
        if not goes_on or settings != self._settings:
            self._found, self._asked = [], 0
        self._settings, self._next = settings, first + len(query)
        self._whole = (lambda: None) if whole is None else weakref.ref(whole)
        asked, self._asked = self._asked, self._asked + len(query)
        if not asked:
            return search(query)
        found = self._take(query, first)
        if found is not None:
            return found
        count = min(_MOST, _FASTER * asked) // len(query) * len(query)
        rows = whole[first : first + count].copy()
        if len(rows) <= len(query):
            return search(query)
        try:
            found = search_many(rows)
        except InputError:  # of a row that is perhaps never asked about
            return search(query)
        self._rows, self._first, self._found = rows, first, found
        self._until = time.monotonic() + _FRESH
        return found[: len(query)]

    def _take(self, query: Array, first: int) -> list[Neighbors] | None:
        """Returns what was found ahead; None if that is not for these rows, or not recent."""
        part = slice(first - self._first, first - self._first + len(query))
        if part.stop > len(self._found) or time.monotonic() > self._until:
            return None
        same = np.array_equal(self._rows[part], query)
        return self._found[part] if same else None


def _locate(query: Array) -> tuple[Any, int]:
    """Returns the array that a query is some rows of, and its first row there; None if none."""
    whole = query.base
    if not isinstance(whole, np.ndarray) or whole.ndim != 2:
        return None, 0
    is_alike = query.dtype == whole.dtype and query.shape[1] == whole.shape[1] > 0
    if not (is_alike and query.flags.c_contiguous and whole.flags.c_contiguous):
        return None, 0
    before = query.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    first, rest = divmod(before, whole.strides[0])
    return (None, 0) if rest else (whole, first)
