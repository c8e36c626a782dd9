"""A vector index on a Redis server: create, open, add, remove, fetch, search, rebuild, drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

import numpy.typing as npt

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine.documents import attribute_values, reading
from fiftyone_redis.engine.documents.documents import AttributeReader, Documents
from fiftyone_redis.engine.documents.reading import Progress, Vectors
from fiftyone_redis.engine.lifecycle import adding, creation, leftovers
from fiftyone_redis.engine.lifecycle.creation import create_index
from fiftyone_redis.engine.lifecycle.definition import (
    SIGNS_OF_CHANGE,
    Definition,
    describe,
    open_index,
)
from fiftyone_redis.engine.lifecycle.dropping import drop_with_documents, drop_without_documents
from fiftyone_redis.engine.lifecycle.rebuild import change_schema, rebuild
from fiftyone_redis.engine.protocol import aliases, commands, index_info
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.search.knn_search import Neighbors, make_request, search
from fiftyone_redis.engine.search.subset_search import Subset
from fiftyone_redis.engine.vectors import checks

QUERY_TIMEOUT = 30.0
"""Seconds that the server may take for one query."""


class VectorIndex:
    """An index of vectors by id; use :meth:`create` or :meth:`open` to get one.

    Args:
        client: a client from :func:`~fiftyone_redis.connection.client.connect`
        schema: the definition of the index
        timeout: seconds that the server may take for one query; None for :data:`QUERY_TIMEOUT`
    """

    def __init__(self, client: Client, schema: Schema, timeout: float | None = None) -> None:
        self.client = client
        self.timeout = timeout
        self.definition = Definition(Documents(client, schema), schema.name)

    @property
    def schema(self) -> Schema:
        """The definition of the index, as it was when it was last read."""
        return self.definition.schema

    @schema.setter
    def schema(self, schema: Schema) -> None:
        self.definition.schema = schema

    @classmethod
    def create(cls, client: Client, schema: Schema) -> VectorIndex:
        """Makes a new index; documents that are already under its prefix become part of it.

        Raises:
            SettingsError: if the name of an attribute cannot be used
            IndexMismatchError: if an index of that name exists, or one that would share documents,
                or keys under its prefix that are no documents of it
            UnsupportedServerError: if the server cannot hold such an index
        """
        return _make_index(cls, create_index(Documents(client, schema)))

    @classmethod
    def open(
        cls,
        client: Client,
        name: str,
        *,
        vector_field: str | None = None,
        id_field: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> VectorIndex:
        """Opens an index that exists, whoever made it, with the definition that the server has.

        Args:
            client: a client of the server
            name: the index's name, or an alias of it
            vector_field: the field of its vectors; needed where there are several
            id_field: the field of its documents' ids, if their keys do not hold them
            tags: which TAG fields to write and read with every vector; None for all

        Raises:
            IndexNotFoundError: if there is none of that name
            IndexMismatchError: if it has no vector field, several and none is named, none of that
                name, or one of a kind that is not supported; or no such field of ids
        """
        found = open_index(client, name, vector_field=vector_field, id_field=id_field, tags=tags)
        return _make_index(cls, found)

    @staticmethod
    def exists(client: Client, name: str) -> bool:
        """Returns whether the server has an index of that name."""
        return aliases.find_index(client, name) is not None

    def __len__(self) -> int:
        return reading.count_documents(self.definition.documents)

    def info(self) -> dict[str, Any]:
        """Returns what the server says of the index (FT.INFO), as text and numbers."""
        return index_info.read_info(describe(self.client, self.schema.name))

    def add(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        tags: Mapping[str, Sequence[str]] | None = None,
        progress: Progress | None = None,
        attributes: AttributeReader | None = None,
    ) -> None:
        """Adds vectors, over those of the same ids where there are any.

        Args:
            ids: ``n`` different ids
            vectors: ``n x dim`` numbers
            tags: for each tag of the index, ``n`` values
            progress: called with the number of documents written since the last time
            attributes: tells the attributes of some of the documents, a batch at a time; the
                documents have none without it

        Raises:
            InputError: if anything is wrong with them; nothing is written then
            IndexNotFoundError: if it was dropped; it says what was written, if anything was
            ServerError: if the server refuses some; adding them again is safe
        """
        adding.add(self.definition, ids, vectors, dict(tags or {}), progress, attributes)

    def update_attributes(
        self, ids: Sequence[str], attributes: AttributeReader, progress: Progress | None = None
    ) -> int:
        """Brings the attributes of existing documents up to date and returns how many it changed.

        Args:
            ids: the documents' ids; those that do not exist are passed over
            attributes: tells the attributes of some of the documents
            progress: called with the number of ids that were looked at since the last time
        """
        return self.definition.write(
            lambda documents: attribute_values.update(documents, ids, attributes, progress)
        )

    def remove(self, ids: Sequence[str]) -> int:
        """Removes documents and returns how many there were."""
        removed: set[str] = set()
        self.definition.write(lambda documents: removed.update(documents.delete(ids)))
        return len(removed)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Returns those of the ids that are in the index."""
        return self.definition.read(lambda documents: documents.find_existing(ids))

    def ids(self) -> list[str]:
        """Returns the ids of all documents, sorted."""
        return self.definition.read(reading.list_ids)

    def walk_ids(self) -> Iterator[list[str]]:
        """Reads the ids of all documents in pages; an id may occur on two of them.

        Raises:
            IndexChangedError: at the end, if others rebuilt the index in the meantime
        """
        return self.definition.walk(lambda documents: documents.walk_ids())

    def read_field(self, ids: Sequence[str], field: str) -> list[str | None]:
        """Returns the values of a field of documents, in the order of ``ids``."""
        return self.definition.read(lambda documents: reading.read_field(documents, ids, field))

    def some_ids(self) -> list[str]:
        """Returns the ids of a few documents; none if there are none."""
        drawn = self.definition.read(reading.sample_documents)
        return [hit.id for hit in drawn if hit.id]

    def sample(self) -> list[Hit]:
        """Returns a few documents, drawn in the last minute; none if there are none."""
        return self.definition.sample()

    def ids_with_tag(self, tag: str, values: Sequence[str]) -> list[str]:
        """Returns the ids of the documents whose tag has one of the values."""
        return self.definition.read(
            lambda documents: reading.find_ids_with_tag(
                documents, tag, values, timeout_ms=self._timeout_ms()
            )
        )

    def tags(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Returns the tags of documents, in the order of ``ids``; empty where there is none."""
        return self.definition.read(lambda documents: reading.read_tags(documents, ids))

    def fetch(self, ids: Sequence[str] | None = None, progress: Progress | None = None) -> Vectors:
        """Reads documents at once.

        Args:
            ids: the documents' ids; None for all
            progress: called with the number of ids that were read since the last time

        Returns:
            the vectors and tags of those that exist, in the order of ``ids``
        """
        return self.definition.read(lambda documents: reading.fetch(documents, ids, progress))

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
        index, changes = self.definition, 0
        while True:
            try:
                matrix = checks.as_matrix(queries, self.schema.dim)
                checks.check_queries(matrix, self.schema)
                return search(make_request(index, matrix, k, within, farthest, self._timeout_ms()))
            except SIGNS_OF_CHANGE as error:
                changes = index.follow(error, changes)

    def search_ids(
        self,
        ids: Sequence[str],
        k: int,
        *,
        within: Sequence[str] | Subset | None = None,
        farthest: bool = False,
    ) -> list[Neighbors]:
        """Finds the nearest neighbours of documents; like :meth:`search` with their vectors.

        A document is among its own neighbours.

        Raises:
            InputError: if some of the ids are not in the index, or ``k`` is less than 1
            IncompleteResultError: if the server cut a query short
        """
        index, changes = self.definition, 0
        while True:
            try:
                # They go back as they came: decoding and encoding takes longer than sending.
                blobs = reading.read_encoded(self.definition.documents, ids)
                request = make_request(index, blobs, k, within, farthest, self._timeout_ms())
                found = search(request)
                if any(len(each.ids) and isnan(each.distances.item(0)) for each in found):
                    checks.check_vectors(request.queries, self.schema, ids)
                return found
            except SIGNS_OF_CHANGE as error:
                changes = index.follow(error, changes)

    def vectors(
        self, ids: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Iterator[Vectors]:
        """Reads documents in pages, so that any number of them fits; else like :meth:`fetch`.

        Raises:
            IndexChangedError: at the end, if others rebuilt the index in the meantime
        """
        return self.definition.walk(lambda documents: reading.read_pages(documents, ids, progress))

    def rebuild(self, progress: Progress | None = None, **changes: Any) -> None:
        """Rebuilds the index with other settings, from the documents that are there.

        The old one answers until the new one is complete. A rebuild that dies leaves it working,
        and can be run again.

        Args:
            progress: called with the number of documents indexed since the last time
            **changes: ``metric``, ``algorithm``, ``dtype``, and the settings of the algorithms,
                as for :class:`Schema`; and ``storage="HASH"``, which makes HASHes of JSON documents

        Raises:
            SettingsError: if a value is not supported
            InputError: if vectors that are there cannot be held or compared that way
            UnsupportedServerError: if the server cannot hold such an index, or cannot switch
        """
        definition = self.definition
        with definition.hold_lease() as held:
            wanted = change_schema(self.schema, changes)
            documents = Documents(self.client, self.schema, held.fence)
            self.schema = rebuild(documents, held, definition.alias, wanted, progress)
        definition.refresh()

    def drop(self, documents: bool = True) -> None:
        """Deletes the index and, unless told otherwise, its documents.

        Other keys under its prefix are left alone. If this is interrupted, the next :meth:`create`
        or :meth:`remove_leftovers` of the name goes on.
        """
        definition = self.definition
        with definition.hold_lease(patient=False) as held:
            fence, name = held.fence, definition.alias
            there = Documents(self.client, self.schema, fence)
            leftovers.remove(there, name, fence, fields_too=not documents)
            if documents:
                drop_with_documents(there, name, fence)
            else:
                drop_without_documents(there, name, fence)
            fence.execute("UNLINK", commands.sync_key(name))
        definition.forget()

    @staticmethod
    def remove_leftovers(client: Client, name: str) -> None:
        """Removes what is left of an index that does not exist any more, documents included.

        Raises:
            IndexMismatchError: if the index exists
        """
        creation.remove_leftovers(client, name)

    def _timeout_ms(self) -> int:
        seconds = QUERY_TIMEOUT if self.timeout is None else self.timeout
        return max(1, round(seconds * 1000))


def _make_index(kind: type[VectorIndex], found: Definition) -> VectorIndex:
    index = kind(found.client, found.schema)
    index.definition = found
    return index
