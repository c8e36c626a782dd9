"""Answers nearest-neighbour requests: on the server, or by brute force in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from math import sqrt
from numbers import Real
from operator import attrgetter, itemgetter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import redis

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.engine.documents import keys, reading
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol import commands, replies
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.search import exact_search, many_searches, planner, subset_search
from fiftyone_redis.engine.search.subset_search import IdSubset, IndexQueries, Subset
from fiftyone_redis.engine.vectors import checks, encoding
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import InputError, ResultLimitError

_nearness = attrgetter("distance", "id")
_LARGEST_K = 2**31 - 1  # the server refuses much larger ones; no index has so many documents
_MANY = 32  # queries: from here on, brute force in this process may be cheaper


@dataclass(frozen=True)
class Neighbors:
    """The neighbours of one query, nearest first.

    Args:
        ids: the ids of ``k`` neighbours
        distances: ``k`` float64 distances in the metric's unit: cosine distance (0..2),
            1 - dot product, or Euclidean distance (not squared)
        tags: ``k`` values for each tag of the index
    """

    ids: list[str]
    distances: npt.NDArray[np.float64]
    tags: dict[str, list[str]] = field(default_factory=dict)


class SearchedIndex(Protocol):
    """The index that is searched, as the server has it now.

    Attributes:
        documents: its documents
    """

    documents: Documents

    def size(self) -> int:
        """Returns the approximate number of documents."""

    def sample(self) -> list[Hit]:
        """Returns a few documents."""

    def confirm(self, reply: Any = None) -> None:
        """Raises if the index was replaced or is still being filled.

        Args:
            reply: the reply to an FT.INFO that was sent just before the query; None to send one
        """

    def is_confirmed(self) -> bool:
        """Returns whether a search needs no confirmation now."""


@dataclass(frozen=True)
class KnnRequest:
    """One nearest-neighbour request.

    Args:
        index: the index
        documents: its documents when the request was made
        vectors: ``n x dim`` checked floats, or ``n`` encoded vectors
        k: the number of neighbours, at least 1
        within: the subset to search in; None for the whole index
        farthest: whether to find the farthest
        timeout_ms: the server's time limit for each query, in milliseconds
    """

    index: SearchedIndex
    documents: Documents
    vectors: Array | list[bytes]
    k: int
    within: Subset | None
    farthest: bool
    timeout_ms: int

    @property
    def schema(self) -> Schema:
        """The index."""
        return self.documents.schema

    @cached_property
    def queries(self) -> Array:
        """The query vectors as ``n x dim`` floats."""
        if not isinstance(self.vectors, list):
            return self.vectors
        return encoding.decode(self.vectors, self.schema.dtype, self.schema.dim)


def read_k(k: Any) -> int:
    """Returns a number of neighbours as an int; it may be any whole number, such as 5.0.

    Raises:
        InputError: if it is not a whole number of at least 1
    """
    return min(read_count("k", k, 1), _LARGEST_K)


def read_count(name: str, value: Any, least: int) -> int:
    """Returns a number of things as an int.

    Raises:
        InputError: if it is not a whole number of at least ``least``
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not value >= least or value % 1 != 0:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return int(value)


def make_request(
    index: SearchedIndex,
    vectors: Array | list[bytes],
    k: int,
    within: Sequence[str] | Subset | None,
    farthest: bool,
    timeout_ms: int,
) -> KnnRequest:
    """Returns a request to an index; see :class:`KnnRequest`.

    Raises:
        InputError: if ``k`` is no whole number, or less than 1
    """
    if within is not None and not isinstance(within, Subset):
        within = IdSubset(within)
    return KnnRequest(index, index.documents, vectors, read_k(k), within, farthest, timeout_ms)


def search(request: KnnRequest) -> list[Neighbors]:
    """Finds the nearest or farthest neighbours of each vector of a request.

    Raises:
        IncompleteResultError: if the server cut a query short
    """
    schema, count = request.schema, len(request.vectors)
    blobs = None
    # The server cannot search for the farthest Euclidean neighbours.
    if not (request.farthest and schema.metric == "euclidean"):
        if count >= _MANY and planner.is_brute_force_cheaper(
            schema, _count_candidates(request), count
        ):
            return _confirm_results(request, _search_in_memory(request))
        if many_searches.are_many(schema, count):
            return _search_in_batches(request)
        blobs = _encode_queries(request)
    if blobs is not None:
        with suppress(ResultLimitError):
            # The farthest neighbours of a vector are the nearest ones of its negative.
            hits = (
                _query_server(request, blobs, request.k)
                if request.within is None
                else _query_subset(request, blobs, request.within)
            )
            return [_to_neighbors(schema, each, request.k, request.farthest) for each in hits]
    return _confirm_results(request, _search_in_pages(request))


def _search_in_batches(request: KnnRequest) -> list[Neighbors]:
    parts = (
        replace(request, vectors=request.vectors[rows])
        for rows in many_searches.batches(len(request.vectors))
    )
    found = many_searches.run_in_flight(request.documents.client, search, parts)
    return [each for batch in found for each in batch]


def _confirm_results(request: KnnRequest, found: list[Neighbors]) -> list[Neighbors]:
    """Returns neighbours found by brute force, after checking that the index was not replaced."""
    request.index.confirm()
    return found


def _count_candidates(request: KnnRequest) -> int:
    """Returns the largest number of documents that the search may have to compare."""
    known = request.within.count if request.within is not None else None
    return request.index.size() if known is None else known


def _encode_queries(request: KnnRequest) -> list[bytes] | None:
    """Returns the encoded queries; None if the index's integer type cannot hold them."""
    if isinstance(request.vectors, list) and not request.farthest:
        return request.vectors
    queries, dtype = request.queries, request.schema.dtype
    if request.farthest:
        queries = -queries
    if not checks.can_hold(queries, dtype):
        return None
    return [blob.tobytes() for blob in encoding.encode(queries, dtype)]


def _query_subset(request: KnnRequest, blobs: list[bytes], within: Subset) -> list[list[Hit]]:
    """Has the server search a subset of the documents."""
    schema = request.schema

    def search_all(numbers: list[int], width: int) -> list[list[Hit]]:
        return _query_server(request, [blobs[n] for n in numbers], width)

    def search_among(numbers: list[int], width: int, ids: list[str]) -> list[list[Hit]]:
        found = list(request.documents.keys.find(ids).values())
        if not found:
            request.index.confirm()
            return [[] for _ in numbers]
        if any("\0" in key for key in found):
            raise ResultLimitError("The server cannot filter by keys that hold a NUL.")
        return _query_server(request, [blobs[n] for n in numbers], width, found)

    index = IndexQueries(
        schema,
        request.index.size(),
        partial(reading.count_documents, request.documents),
        request.index.sample,
        search_all,
        search_among,
    )
    return subset_search.search(index, within, len(blobs), request.k)


def _query_server(
    request: KnnRequest, blobs: list[bytes], k: int, keys: Sequence[str] | None = None
) -> list[list[Hit]]:
    """Sends FT.INFO, unless the index was just confirmed, and the queries in one round trip."""
    schema = request.schema
    knn = partial(
        commands.knn, schema, k=k, tags=schema.tags, keys=keys, timeout_ms=request.timeout_ms
    )
    is_confirmed = request.index.is_confirmed()
    queries = [*([] if is_confirmed else [commands.info(schema.name)]), *map(knn, blobs)]
    groups = [queries] if len(blobs) == 1 else [[query] for query in queries]
    requests = (wire.pack_queries(group, [None] * len(group)) for group in groups)
    answers = chain.from_iterable(map(itemgetter(1), request.documents.client.exchange(requests)))
    if not is_confirmed:
        request.index.confirm(_check_reply(request, next(answers)))
    found = [replies.read_hits(_check_reply(request, reply), schema) for reply in answers]
    if is_confirmed and not request.index.is_confirmed():  # the server may have restarted
        return _query_server(request, blobs, k, keys)
    return found


def _check_reply(request: KnnRequest, reply: Any) -> Any:
    if isinstance(reply, redis.RedisError):
        raise translate(reply, request.documents.client.address)
    return reply


def _to_neighbors(schema: Schema, hits: list[Hit], k: int, farthest: bool) -> Neighbors:
    """Sorts hits, which the server returns unordered, and converts their distances."""
    hits = sorted(hits, key=_nearness)[:k]
    if not schema.has_direct_keys:
        keys.map_ids_to_keys(schema, [{hit.key: hit.id for hit in hits}])
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


def _search_in_pages(request: KnnRequest) -> list[Neighbors]:
    """Searches by brute force, one page of vectors at a time, in bounded memory."""
    documents, schema, within = request.documents, request.schema, request.within
    sign = -1 if request.farthest else 1
    best = None
    found = reading.Vectors([], request.queries, {tag: [] for tag in schema.tags})
    for page in reading.read_pages(documents, None if within is None else within.ids()):
        scores = sign * exact_search.compute_distances(request.queries, page.vectors, schema.metric)
        best = exact_search.merge(best, scores, len(found.ids), request.k)
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    if best is None:
        return [_to_neighbors(schema, [], request.k, False) for _ in request.queries]
    return [
        _select_rows(found, columns, sign * keys) for keys, columns in _sort_rows(*best, found.ids)
    ]


def _search_in_memory(request: KnnRequest) -> list[Neighbors]:
    """Searches by brute force with all vectors in memory, which is faster for many queries."""
    farthest, within = request.farthest, request.within
    points = reading.fetch(request.documents, None if within is None else within.ids())
    queries = -request.queries if farthest else request.queries
    return [
        _select_rows(points, rows, 2 - distances if farthest else distances)
        for rows, distances in exact_search.find_neighbors(
            points.vectors, queries, request.k, request.schema.metric
        )
    ]


def _select_rows(
    points: reading.Vectors, rows: npt.NDArray[np.intp], distances: npt.NDArray[np.float64]
) -> Neighbors:
    tags = {tag: [values[row] for row in rows] for tag, values in points.tags.items()}
    return Neighbors([points.ids[row] for row in rows], distances, tags)


def _sort_rows(
    keys: npt.NDArray[np.float64], columns: npt.NDArray[np.intp], ids: list[str]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]]:
    """Yields the sort keys and columns of each row, sorted by key, then by id."""
    for row, numbers in zip(keys, columns, strict=True):
        order = sorted(range(len(row)), key=lambda i: (row[i], ids[numbers[i]]))
        yield row[order], numbers[order]
