"""A vector index on a Redis server: create, open, add, remove, fetch, search, drop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from fiftyone_redis.engine import codec, documents, exact, planner, protocol, restricted
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.connection import address, execute
from fiftyone_redis.engine.errors import (
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    ResultLimitError,
    some,
    translated,
)
from fiftyone_redis.engine.protocol import Hit
from fiftyone_redis.engine.rebuild import rebuild
from fiftyone_redis.engine.restricted import IdSubset, Searcher, Subset
from fiftyone_redis.engine.schema import Schema

QUERY_TIMEOUT = 30.0
"""Seconds that the server may take for one query."""

Progress = Callable[[int], None]

_SETTLE_SECONDS = 0.01
_TAG_VALUES = 500
_MANY = 32  # queries, before it is asked whether comparing here is cheaper


@dataclass(frozen=True)
class Vectors:
    """Documents that were read.

    Args:
        ids: ``n`` ids
        vectors: an ``n x dim`` array of float32, or of float64 where the index holds that
        tags: for each tag of the index, ``n`` values
    """

    ids: list[str]
    vectors: Array
    tags: dict[str, list[str]] = field(default_factory=dict)


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


class VectorIndex:
    """An index of vectors by id.

    Use :meth:`create` or :meth:`open` to get one.

    Args:
        client: a client from :func:`~fiftyone_redis.engine.connection.connect`
        schema: the definition of the index
        timeout: seconds that the server may take for one query; None for :data:`QUERY_TIMEOUT`
    """

    def __init__(self, client: redis.Redis, schema: Schema, timeout: float | None = None) -> None:
        self.client = client
        self.schema = schema
        self.timeout = timeout

    @classmethod
    def create(cls, client: redis.Redis, schema: Schema) -> VectorIndex:
        """Makes a new index; documents that are already under its prefix become part of it.

        Raises:
            IndexMismatchError: if an index of that name exists, or one that would share documents
            UnsupportedServerError: if the server cannot hold such an index
        """
        _refuse_overlap(client, schema)
        execute(client, *protocol.create(schema))
        index = cls(client, schema)
        # The server scans its keys in the background; until it is done, its counts are too small.
        while int(index.info()["indexing"]):
            time.sleep(_SETTLE_SECONDS)
        return index

    @classmethod
    def open(cls, client: redis.Redis, name: str) -> VectorIndex:
        """Opens an index that exists, with the definition that the server has of it.

        Raises:
            IndexNotFoundError: if there is none of that name
            IndexMismatchError: if it is not one of HASH documents with one vector field
        """
        reply = execute(client, *protocol.info(name))
        schema = protocol.read_schema(protocol.read_info(reply))
        return cls(client, replace(schema, name=name))  # the server tells what is behind an alias

    @staticmethod
    def exists(client: redis.Redis, name: str) -> bool:
        """Returns whether the server has an index of that name."""
        try:
            execute(client, *protocol.info(name))
        except IndexNotFoundError:
            return False
        return True

    def __len__(self) -> int:
        return int(self.info()["num_docs"])

    def info(self) -> dict[str, Any]:
        """Returns what the server says of the index (FT.INFO), as text and numbers."""
        return protocol.read_info(execute(self.client, *protocol.info(self.schema.name)))

    def add(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        tags: Mapping[str, Sequence[str]] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Adds vectors, over those of the same ids where there are any.

        Args:
            ids: ``n`` different ids
            vectors: ``n x dim`` numbers
            tags: for each tag of the index, ``n`` values
            progress: called with the number of documents written since the last time

        Raises:
            InputError: if anything is wrong with them; nothing is written then
            IndexNotFoundError: if the index was dropped; nothing is written then
            ServerError: if the server refuses some; adding them again is safe
        """
        tags = dict(tags or {})
        matrix = codec.as_matrix(vectors, self.schema.dim)
        codec.check_ids(ids, len(matrix), tags, self.schema)
        codec.check(matrix, self.schema, ids)
        # Raises if the index is gone; it may also have been rebuilt with another data type.
        self._refresh()
        for written in documents.write(self.client, self.schema, ids, matrix, tags):
            if progress is not None:
                progress(written)

    def remove(self, ids: Sequence[str]) -> int:
        """Removes documents and returns how many there were."""
        return documents.delete(self.client, self.schema, ids)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Returns those of the ids that are in the index."""
        return documents.existing(self.client, self.schema, ids)

    def ids(self) -> Iterator[str]:
        """Yields the ids of all documents, in no order."""
        for page in documents.walk(self.client, self.schema):
            yield from page

    def ids_with_tag(self, tag: str, values: Sequence[str]) -> list[str]:
        """Returns the ids of the documents whose tag has one of the values."""
        found: list[str] = []
        for start in range(0, len(values), _TAG_VALUES):
            batch = values[start : start + _TAG_VALUES]
            command = protocol.keys_with_tag(self.schema, tag, batch, timeout_ms=self._timeout_ms())
            keys, cursor = self._read_page(execute(self.client, *command))
            found += keys
            while cursor:
                reply = execute(self.client, *protocol.next_page(self.schema.name, cursor))
                keys, cursor = self._read_page(reply)
                found += keys
        return [self._id(key) for key in found]

    def tags(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Returns the tags of documents, in the order of ``ids``; empty text where one is missing.

        Args:
            ids: the documents' ids
        """
        found: dict[str, list[str]] = {tag: [] for tag in self.schema.tags}
        for _, rows in documents.read(self.client, self.schema, ids, self.schema.tags):
            for values, column in zip(found.values(), zip(*rows, strict=True), strict=True):
                values += [protocol.text(value or b"") for value in column]
        return found

    def fetch(self, ids: Sequence[str] | None = None, progress: Progress | None = None) -> Vectors:
        """Reads documents at once.

        Args:
            ids: the documents' ids; None for all
            progress: called with the number of ids that were read since the last time

        Returns:
            the vectors and tags of those that exist, in the order of ``ids``
        """
        wanted = list(self.ids()) if ids is None else ids
        found = Vectors([], self._empty(len(wanted)), {tag: [] for tag in self.schema.tags})
        for page in self.vectors(wanted, progress):
            found.vectors[len(found.ids) : len(found.ids) + len(page.ids)] = page.vectors
            found.ids.extend(page.ids)
            for tag, values in page.tags.items():
                found.tags[tag].extend(values)
        return Vectors(found.ids, found.vectors[: len(found.ids)], found.tags)

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        within: Sequence[str] | Subset | None = None,
        farthest: bool = False,
    ) -> list[Neighbors]:
        """Finds the nearest neighbours of vectors, or the farthest.

        Args:
            queries: ``n x dim`` numbers
            k: how many neighbours, at least 1
            within: the ids to choose among, or a subset that can tell them; None for all
            farthest: whether to find the farthest, farthest first

        Returns:
            for each query its neighbours, in order of distance, and by id where that is equal;
            fewer than ``k`` where there are fewer

        Raises:
            InputError: if a query could not be compared, or ``k`` is less than 1
            IncompleteResultError: if the server cut a query short
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}.")
        matrix = codec.as_matrix(queries, self.schema.dim)
        codec.check(matrix, self.schema)
        if within is not None and not isinstance(within, Subset):
            within = IdSubset(within, self.schema.prefix)
        if farthest and self.schema.metric == "euclidean":
            # The server can only look for what is near.
            return self._compared(matrix, k, within, farthest)
        if len(matrix) >= _MANY and planner.compare_here(
            self.schema, (within and within.count) or len(self), len(matrix)
        ):
            return self._compared_at_once(matrix, k, within, farthest)
        try:
            return self._asked(matrix, k, within, farthest)
        except ResultLimitError:
            return self._compared(matrix, k, within, farthest)

    def vectors(
        self, ids: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Iterator[Vectors]:
        """Reads documents in pages, so that any number of them fits.

        Args:
            ids: the documents' ids; None for all
            progress: called with the number of ids that were read since the last time

        Yields:
            the vectors and tags of those that exist, in the order of ``ids``
        """
        names = [self.schema.vector_field, *self.schema.tags]
        wanted = list(self.ids()) if ids is None else ids
        for batch, rows in documents.read(self.client, self.schema, wanted, names):
            kept = [(id, row) for id, row in zip(batch, rows, strict=True) if row[0] is not None]
            blobs = [row[0] or b"" for _, row in kept]
            tags = {
                tag: [protocol.text(row[column] or b"") for _, row in kept]
                for column, tag in enumerate(self.schema.tags, start=1)
            }
            yield Vectors([id for id, _ in kept], self._decode(blobs), tags)
            if progress is not None:
                progress(len(batch))

    def rebuild(self, progress: Progress | None = None, **changes: Any) -> None:
        """Makes the index another one over the documents that are there.

        The old one answers until the new one is complete. A rebuild that dies leaves it working,
        and can be run again.

        Args:
            progress: called with the number of documents indexed since the last time
            **changes: ``metric``, ``algorithm``, ``dtype``, ``m``, ``ef_construction``,
                ``ef_runtime`` or ``block_size``, as for :class:`Schema`

        Raises:
            SettingsError: if a value is not supported
            InputError: if vectors that are there cannot be held or compared that way
        """
        self._refresh()
        wanted = replace(self.schema, **changes)
        self.schema = rebuild(self.client, self.schema, wanted, progress)

    def drop(self, documents: bool = True) -> None:
        """Deletes the index and, unless told otherwise, its documents."""
        execute(self.client, *protocol.drop(self.schema.name, documents))

    def _refresh(self) -> None:
        """Reads the index's definition again, but for what only queries know of."""
        found = VectorIndex.open(self.client, self.schema.name).schema
        self.schema = replace(
            found, ef_runtime=self.schema.ef_runtime, block_size=self.schema.block_size
        )

    def _asked(
        self, matrix: Array, k: int, within: Subset | None, farthest: bool
    ) -> list[Neighbors]:
        """Has the server find neighbours. The farthest are those nearest to the opposite vector."""
        blobs = [
            blob.tobytes()
            for blob in codec.encode(-matrix if farthest else matrix, self.schema.dtype)
        ]

        def wide(numbers: list[int], width: int) -> list[list[Hit]]:
            return self._ask([self._knn(blobs[number], width) for number in numbers])

        def filtered(numbers: list[int], width: int, ids: list[str]) -> list[list[Hit]]:
            if not ids:
                return [[] for _ in numbers]
            keys = [self.schema.prefix + id for id in ids]
            return self._ask([self._knn(blobs[number], width, keys) for number in numbers])

        if within is None:
            hits = wide(list(range(len(blobs))), k)
        else:
            searcher = Searcher(self.schema, len(self), wide, filtered)
            hits = restricted.search(searcher, within, len(blobs), k)
        return [self._neighbors(each, k, farthest) for each in hits]

    def _compared(
        self, matrix: Array, k: int, within: Subset | None, farthest: bool
    ) -> list[Neighbors]:
        """Reads the vectors and compares them here, in bounded memory."""
        sign = -1 if farthest else 1
        best = None
        ids: list[str] = []
        tags: dict[str, list[str]] = {tag: [] for tag in self.schema.tags}
        for page in self.vectors(None if within is None else within.ids(None)):
            keys = sign * exact.distances(matrix, page.vectors, self.schema.metric)
            best = exact.merge(best, keys, len(ids), k)
            ids += page.ids
            for tag, values in page.tags.items():
                tags[tag] += values
        if best is None:
            return [self._neighbors([], k, farthest) for _ in matrix]
        return [
            Neighbors(
                [ids[column] for column in columns],
                sign * keys,
                {tag: [values[column] for column in columns] for tag, values in tags.items()},
            )
            for keys, columns in _in_order(*best, ids)
        ]

    def _compared_at_once(
        self, matrix: Array, k: int, within: Subset | None, farthest: bool
    ) -> list[Neighbors]:
        """Reads all vectors into memory, which pays off when there are many queries."""
        points = self.fetch(sorted(self.ids()) if within is None else within.ids(None))
        queries = -matrix if farthest else matrix
        return [
            Neighbors(
                [points.ids[row] for row in rows],
                2 - distances if farthest else distances,
                {tag: [values[row] for row in rows] for tag, values in points.tags.items()},
            )
            for rows, distances in exact.neighbors(points.vectors, queries, k, self.schema.metric)
        ]

    def _knn(self, blob: bytes, k: int, keys: Sequence[str] | None = None) -> protocol.Command:
        return protocol.knn(
            self.schema,
            blob,
            k,
            tags=self.schema.tags,
            keys=keys,
            timeout_ms=self._timeout_ms(),
        )

    def _timeout_ms(self) -> int:
        seconds = QUERY_TIMEOUT if self.timeout is None else self.timeout
        return max(1, round(seconds * 1000))

    def _ask(self, commands: Iterable[protocol.Command]) -> list[list[Hit]]:
        requests = ((protocol.pack(command), [None]) for command in commands)
        hits = []
        for _, [reply] in documents.exchange(self.client, requests):
            if isinstance(reply, redis.RedisError):
                raise translated(reply, address(self.client))
            hits.append(protocol.read_hits(reply))
        return hits

    def _neighbors(self, hits: list[Hit], k: int, farthest: bool) -> Neighbors:
        """Sorts here: without SORTBY, which not every dialect accepts, hits have no order."""
        hits = sorted(hits, key=lambda hit: (hit.distance, hit.key))[:k]
        distances = np.array([hit.distance for hit in hits], dtype=np.float64)
        if farthest:
            distances = 2 - distances
        if self.schema.metric != "dotproduct":
            # Rounding can make the distance of equal vectors slightly negative.
            distances = distances.clip(min=0)
        if self.schema.metric == "euclidean":
            distances = np.sqrt(distances)
        tags = {tag: [hit.tags.get(tag, "") for hit in hits] for tag in self.schema.tags}
        return Neighbors([self._id(hit.key) for hit in hits], distances, tags)

    def _empty(self, count: int) -> Array:
        dtype = np.float64 if self.schema.dtype == "float64" else np.float32
        return np.empty((count, self.schema.dim), dtype)

    def _read_page(self, reply: Any) -> tuple[list[str], int]:
        try:
            return protocol.read_keys(reply)
        except IncompleteResultError:
            if reply[1]:
                execute(self.client, *protocol.close_cursor(self.schema.name, reply[1]))
            raise

    def _decode(self, blobs: list[bytes]) -> Array:
        return codec.decode(blobs, self.schema.dtype, self.schema.dim)

    def _id(self, key: str) -> str:
        return key[len(self.schema.prefix) :]


def _refuse_overlap(client: redis.Redis, schema: Schema) -> None:
    """Raises if a prefix is the start of another index's: each would hold the other's documents."""
    names = [protocol.text(name) for name in execute(client, *protocol.names())]
    requests = ((protocol.pack(protocol.info(name)), [name]) for name in names)
    overlapping = [
        repr(name)
        for [name], [reply] in documents.exchange(client, requests)
        if name != schema.name and _overlaps(reply, schema.prefix)
    ]
    if overlapping:
        raise IndexMismatchError(
            f"The index {schema.name!r} would share documents with others whose names start alike: "
            f"{some(overlapping)}; choose another index_name."
        )


def _overlaps(reply: Any, prefix: str) -> bool:
    if isinstance(reply, redis.RedisError):
        return False  # dropped in the meantime
    others = [other for other in protocol.read_prefixes(protocol.read_info(reply)) if other]
    return any(o.startswith(prefix) or prefix.startswith(o) for o in others)


def _in_order(
    keys: npt.NDArray[np.float64], columns: npt.NDArray[np.intp], ids: list[str]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]]:
    """Yields each row's keys and columns, sorted by key, and by id where that is equal."""
    for row, numbers in zip(keys, columns, strict=True):
        order = sorted(range(len(row)), key=lambda i: (row[i], ids[numbers[i]]))
        yield row[order], numbers[order]
