"""Finds neighbours: by the server, or by comparing here what it cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from math import sqrt
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.client import address
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.pipeline import exchange
from fiftyone_redis.connection.translate import translated
from fiftyone_redis.engine import (
    codec,
    commands,
    exact_search,
    keys,
    planner,
    reading,
    replies,
    subset_search,
)
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.replies import Hit
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.engine.subset_search import Searcher, Subset
from fiftyone_redis.errors import InputError, ResultLimitError

_nearness = attrgetter("distance", "id")
_MANY = 32  # queries, before it is asked whether comparing here is cheaper


@dataclass(frozen=True)
class Neighbors:
    """What a search found, nearest first.

    Args:
        ids: the ids of the neighbours
        distances: a float64 array of as many distances, in the metric's own unit: cosine distance
            (0..2), 1 - dot product, or Euclidean distance (not squared)
        tags: for each tag of the index, as many values
    """

    ids: list[str]
    distances: npt.NDArray[np.float64]
    tags: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What is to be found, in an index.

    Args:
        client: a client of the server
        schema: the index
        vectors: ``n x dim`` floats that were checked, or ``n`` vectors as the server holds them
        k: how many neighbours
        within: what to choose among; None for all
        farthest: whether to find the farthest
        timeout_ms: after how many milliseconds the server may give up
        size: tells about how many documents the index has
        sample: draws a few of them
        confirm: takes what FT.INFO says just before the server searches, and raises if the index
            is not the one that this question is about, or not whole; given None, it asks itself
    """

    client: Client
    schema: Schema
    vectors: Array | list[bytes]
    k: int
    within: Subset | None
    farthest: bool
    timeout_ms: int
    size: Callable[[], int]
    sample: Callable[[], list[Hit]]
    confirm: Callable[[Any], None]

    @cached_property
    def queries(self) -> Array:
        """The vectors as ``n x dim`` floats."""
        if not isinstance(self.vectors, list):
            return self.vectors
        return codec.decode(self.vectors, self.schema.dtype, self.schema.dim)


def search(question: Question) -> list[Neighbors]:
    """Finds the nearest neighbours, or the farthest, of each of a question's vectors.

    Raises:
        InputError: if ``k`` is less than 1
        IncompleteResultError: if the server cut a query short
    """
    schema, count = question.schema, len(question.vectors)
    if question.k < 1:
        raise InputError(f"k must be at least 1, not {question.k}.")
    blobs = None
    # The server can only look for what is near.
    if not (question.farthest and schema.metric == "euclidean"):
        if count >= _MANY and planner.compare_here(schema, _candidates(question), count):
            return _confirmed(question, _compared_at_once(question))
        blobs = _encoded(question)
    if blobs is not None:
        with suppress(ResultLimitError):
            # The farthest are those nearest to the opposite vector.
            hits = (
                _answers(question, blobs, question.k)
                if question.within is None
                else _answers_within(question, blobs, question.within)
            )
            return [_neighbors(schema, each, question.k, question.farthest) for each in hits]
    return _confirmed(question, _compared(question))


def _confirmed(question: Question, found: list[Neighbors]) -> list[Neighbors]:
    """Returns what was found among documents that were read, if the index is still the same."""
    question.confirm(None)
    return found


def _candidates(question: Question) -> int:
    """Returns how many documents there are to choose among, at most."""
    known = question.within.count if question.within is not None else None
    return question.size() if known is None else known


def _encoded(question: Question) -> list[bytes] | None:
    """Returns what to ask the server for; None where the index's type, in whole numbers, cannot."""
    if isinstance(question.vectors, list) and not question.farthest:
        return question.vectors
    queries, dtype = question.queries, question.schema.dtype
    if question.farthest:
        queries = -queries
    if not codec.holds(queries, dtype):
        return None
    return [blob.tobytes() for blob in codec.encode(queries, dtype)]


def _answers_within(question: Question, blobs: list[bytes], within: Subset) -> list[list[Hit]]:
    """Has the server find neighbours among some of the documents."""
    schema = question.schema

    def wide(numbers: list[int], width: int) -> list[list[Hit]]:
        return _answers(question, [blobs[n] for n in numbers], width)

    def filtered(numbers: list[int], width: int, ids: list[str]) -> list[list[Hit]]:
        among = list(keys.of(question.client, schema, ids).values())
        if not among:
            question.confirm(None)
            return [[] for _ in numbers]
        return _answers(question, [blobs[n] for n in numbers], width, among)

    count = partial(reading.size, question.client, schema)
    searcher = Searcher(schema, question.size(), count, question.sample, wide, filtered)
    return subset_search.search(searcher, within, len(blobs), question.k)


def _answers(
    question: Question, blobs: list[bytes], k: int, keys: Sequence[str] | None = None
) -> list[list[Hit]]:
    """Sends queries, and the question what the index is before them, in one round trip."""
    schema = question.schema
    knn = partial(
        commands.knn, schema, k=k, tags=schema.tags, keys=keys, timeout_ms=question.timeout_ms
    )
    asked = [commands.info(schema.name), *map(knn, blobs)]
    together = [asked] if len(blobs) == 1 else [[command] for command in asked]
    requests = (wire.queries(some, [None] * len(some)) for some in together)
    found = chain.from_iterable(map(itemgetter(1), exchange(question.client, requests)))
    question.confirm(_accepted(question, next(found)))
    return [replies.read_hits(_accepted(question, reply), schema) for reply in found]


def _accepted(question: Question, reply: Any) -> Any:
    if isinstance(reply, redis.RedisError):
        raise translated(reply, address(question.client))
    return reply


def _neighbors(schema: Schema, hits: list[Hit], k: int, farthest: bool) -> Neighbors:
    """Sorts here: without SORTBY, which not every dialect accepts, hits have no order."""
    hits = sorted(hits, key=_nearness)[:k]
    if not schema.is_direct:
        keys.by_id(schema, [{hit.key: hit.id for hit in hits}])
    distances = [hit.distance for hit in hits]
    if farthest:
        distances = [2 - distance for distance in distances]
    if schema.metric != "dotproduct":
        # Rounding can make the distance of equal vectors slightly negative.
        distances = [max(distance, 0.0) for distance in distances]
    if schema.metric == "euclidean":
        distances = [sqrt(distance) for distance in distances]
    tags = {tag: [hit.tags.get(tag, "") for hit in hits] for tag in schema.tags}
    return Neighbors([hit.id for hit in hits], np.array(distances, dtype=np.float64), tags)


def _compared(question: Question) -> list[Neighbors]:
    """Reads the vectors and compares them here, in bounded memory."""
    client, schema, within = question.client, question.schema, question.within
    sign = -1 if question.farthest else 1
    best = None
    found = reading.Vectors([], question.queries, {tag: [] for tag in schema.tags})
    for page in reading.pages(client, schema, None if within is None else within.ids()):
        scores = sign * exact_search.distances(question.queries, page.vectors, schema.metric)
        best = exact_search.merge(best, scores, len(found.ids), question.k)
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    if best is None:
        return [_neighbors(schema, [], question.k, False) for _ in question.queries]
    return [_picked(found, columns, sign * keys) for keys, columns in _in_order(*best, found.ids)]


def _compared_at_once(question: Question) -> list[Neighbors]:
    """Reads all vectors into memory, which pays off when there are many queries."""
    client, schema, farthest = question.client, question.schema, question.farthest
    if question.within is None:
        ids: list[str] | None = reading.ids(client, schema)
    else:
        ids = question.within.ids()
    points = reading.fetch(client, schema, ids)
    queries = -question.queries if farthest else question.queries
    return [
        _picked(points, rows, 2 - distances if farthest else distances)
        for rows, distances in exact_search.neighbors(
            points.vectors, queries, question.k, schema.metric
        )
    ]


def _picked(
    points: reading.Vectors, rows: npt.NDArray[np.intp], distances: npt.NDArray[np.float64]
) -> Neighbors:
    tags = {tag: [values[row] for row in rows] for tag, values in points.tags.items()}
    return Neighbors([points.ids[row] for row in rows], distances, tags)


def _in_order(
    keys: npt.NDArray[np.float64], columns: npt.NDArray[np.intp], ids: list[str]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]]:
    """Yields each row's keys and columns, sorted by key, and by id where that is equal."""
    for row, numbers in zip(keys, columns, strict=True):
        order = sorted(range(len(row)), key=lambda i: (row[i], ids[numbers[i]]))
        yield row[order], numbers[order]
