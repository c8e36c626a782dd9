"""A vector index on a Redis server: create, open, add, remove, fetch, search, rebuild, drop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import isnan
from typing import Any, TypeVar

import numpy.typing as npt

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import (
    aliases,
    attribute_values,
    codec,
    commands,
    documents,
    existing_index,
    keys,
    lease,
    leftovers,
    reading,
    replies,
)
from fiftyone_redis.engine.documents import AttributeReader
from fiftyone_redis.engine.indexing import wait_until_indexed
from fiftyone_redis.engine.options import UNREPORTED
from fiftyone_redis.engine.overlap import refuse_overlap
from fiftyone_redis.engine.reading import Progress, Vectors
from fiftyone_redis.engine.rebuild import rebuild
from fiftyone_redis.engine.replies import Hit
from fiftyone_redis.engine.requirements import require_support
from fiftyone_redis.engine.schema import FIFTYONE_ID, Schema, check_attributes
from fiftyone_redis.engine.search import KnnRequest, Neighbors, search
from fiftyone_redis.engine.subset_search import IdSubset, Subset
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexChangedError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    SettingsError,
)

QUERY_TIMEOUT = 30.0
"""Seconds that the server may take for one query."""

_SAMPLE = 64
_SCAN_SECONDS = 0.001  # in which a server with few keys scans them; it is asked once then
_REMEMBERED_SECONDS = 60.0

T = TypeVar("T")

_MOST_CHANGES = 10  # of an index by others, during one search
_SIGNS_OF_CHANGE = (IndexChangedError, IndexNotFoundError, InputError)


class VectorIndex:
    """An index of vectors by id.

    Use :meth:`create` or :meth:`open` to get one.

    Args:
        client: a client from :func:`~fiftyone_redis.connection.client.connect`
        schema: the definition of the index
        timeout: seconds that the server may take for one query; None for :data:`QUERY_TIMEOUT`
    """

    def __init__(self, client: Client, schema: Schema, timeout: float | None = None) -> None:
        self.client = client
        self.schema = schema
        self.timeout = timeout
        self._known: dict[Any, tuple[float, Any]] = {}
        # What the server says of the index; empty for one that is neither made nor opened here.
        self._identity: tuple[Any, ...] = ()

    @classmethod
    def create(cls, client: Client, schema: Schema) -> VectorIndex:
        """Makes a new index; documents that are already under its prefix become part of it.

        Raises:
            SettingsError: if the name of an attribute cannot be used
            IndexMismatchError: if an index of that name exists, or one that would share documents
            UnsupportedServerError: if the server cannot hold such an index
        """
        check_attributes(schema)
        require_support(client, schema)
        name = schema.name
        with lease.hold(client, name), ExitStack() as undo:
            if aliases.is_taken(client, name):
                raise _taken(name)
            leftovers.remove_all(client, name, schema.prefixes)
            refuse_overlap(client, schema)
            schema = replace(schema, server_name=naming.make_index_name(name))
            execute(client, *commands.create(schema))
            undo.callback(execute, client, *commands.drop(schema.server_name, documents=False))
            time.sleep(_SCAN_SECONDS)
            definition = wait_until_indexed(client, schema.server_name)
            execute(client, *commands.add_alias(name, schema.server_name))
            undo.pop_all()
        index = cls(client, schema)
        index._identity = replies.read_identity(definition)
        return index

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
        reply = _read_definition(client, name)
        info = replies.read_info(reply)
        some_keys: list[str] = []
        if existing_index.may_lack_separator(info["index_definition"]["prefixes"]):
            found = execute(client, *commands.some_keys(info["index_name"], _SAMPLE))
            some_keys = replies.read_some_keys(found)
        schema = replies.read_schema(
            info, vector_field=vector_field, id_field=id_field, tags=tags, keys=some_keys
        )
        schema = replace(schema, name=name, server_name=info["index_name"])
        keys.check_id_field(client, schema)
        index = cls(client, schema)
        index._identity = replies.read_identity(reply)
        return index

    @staticmethod
    def exists(client: Client, name: str) -> bool:
        """Returns whether the server has an index of that name."""
        return aliases.find_index(client, name) is not None

    def __len__(self) -> int:
        return reading.count_documents(self.client, self.schema)

    def info(self) -> dict[str, Any]:
        """Returns what the server says of the index (FT.INFO), as text and numbers."""
        return replies.read_info(_read_definition(self.client, self.schema.name))

    def add(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        tags: Mapping[str, Sequence[str]] | None = None,
        progress: Progress | None = None,
        attributes: AttributeReader | None = None,
        *,
        is_current: bool = False,
    ) -> None:
        """Adds vectors, over those of the same ids where there are any.

        Args:
            ids: ``n`` different ids
            vectors: ``n x dim`` numbers
            tags: for each tag of the index, ``n`` values
            progress: called with the number of documents written since the last time
            attributes: tells the attributes of some of the documents, a batch at a time; the
                documents have none without it
            is_current: whether the index was made or opened just now; else it is read again, since
                others may have dropped or rebuilt it

        Raises:
            InputError: if anything is wrong with them; nothing is written then
            IndexNotFoundError: if the index was dropped; nothing is written then
            ServerError: if the server refuses some; adding them again is safe
        """
        tags = dict(tags or {})
        matrix = codec.as_matrix(vectors, self.schema.dim)
        codec.check_ids(ids, len(matrix), tags, self.schema)
        codec.check_vectors(matrix, self.schema, ids)
        if not is_current:
            # Raises if the index is gone; it may also have been rebuilt with another data type.
            self._refresh()
        self._known.clear()
        if attributes is None:
            batches = documents.write(self.client, self.schema, ids, matrix, tags)
        else:
            batches = attribute_values.write(
                self.client, self.schema, ids, matrix, tags, attributes
            )
        for written in batches:
            if progress is not None:
                progress(written)

    def update_attributes(
        self, ids: Sequence[str], attributes: AttributeReader, progress: Progress | None = None
    ) -> int:
        """Brings the attributes of existing documents up to date and returns how many it changed.

        Args:
            ids: the documents' ids; those that do not exist are passed over
            attributes: tells the attributes of some of the documents
            progress: called with the number of ids that were looked at since the last time
        """
        return attribute_values.update(self.client, self.schema, ids, attributes, progress)

    def remove(self, ids: Sequence[str]) -> int:
        """Removes documents and returns how many there were."""
        self._known.clear()
        return documents.delete(self.client, self.schema, ids)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Returns those of the ids that are in the index."""
        return self._read(lambda: documents.find_existing(self.client, self.schema, ids))

    def ids(self) -> list[str]:
        """Returns the ids of all documents, sorted; HASHes without a vector are among them."""
        return self._read(lambda: reading.list_ids(self.client, self.schema))

    def some_ids(self) -> list[str]:
        """Returns the ids of a few documents; none if there are none."""
        return [hit.id for hit in reading.sample_documents(self.client, self.schema) if hit.id]

    def ids_with_tag(self, tag: str, values: Sequence[str]) -> list[str]:
        """Returns the ids of the documents whose tag has one of the values."""
        return self._read(
            lambda: reading.find_ids_with_tag(
                self.client, self.schema, tag, values, timeout_ms=self._timeout_ms()
            )
        )

    def tags(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Returns the tags of documents, in the order of ``ids``; empty text where one is missing.

        Args:
            ids: the documents' ids
        """
        return self._read(lambda: reading.read_tags(self.client, self.schema, ids))

    def fetch(self, ids: Sequence[str] | None = None, progress: Progress | None = None) -> Vectors:
        """Reads documents at once.

        Args:
            ids: the documents' ids; None for all
            progress: called with the number of ids that were read since the last time

        Returns:
            the vectors and tags of those that exist, in the order of ``ids``
        """
        return self._read(lambda: reading.fetch(self.client, self.schema, ids, progress))

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
        matrix = codec.as_matrix(queries, self.schema.dim)
        codec.check_queries(matrix, self.schema)
        changes = 0
        while True:
            try:
                return search(self._request(matrix, k, within, farthest))
            except _SIGNS_OF_CHANGE as error:
                changes = self._follow(error, changes)

    def search_ids(
        self,
        ids: Sequence[str],
        k: int,
        *,
        within: Sequence[str] | Subset | None = None,
        farthest: bool = False,
    ) -> list[Neighbors]:
        """Finds the nearest neighbours of documents, or the farthest; like :meth:`search`.

        Args:
            ids: ``n`` ids of documents
            k: how many neighbours, at least 1; a document is among its own
            within: the ids to choose among, or a subset that can tell them; None for all
            farthest: whether to find the farthest, farthest first

        Returns:
            for each of the documents its neighbours

        Raises:
            InputError: if some of the ids are not in the index, or ``k`` is less than 1
            IncompleteResultError: if the server cut a query short
        """
        changes = 0
        while True:
            try:
                # They go back as they came: decoding, checking and encoding takes longer than
                # sending.
                blobs = reading.read_encoded(self.client, self.schema, ids)
                request = self._request(blobs, k, within, farthest)
                found = search(request)
                if any(len(each.ids) and isnan(each.distances.item(0)) for each in found):
                    codec.check_vectors(request.queries, self.schema, ids)
                return found
            except _SIGNS_OF_CHANGE as error:
                changes = self._follow(error, changes)

    def vectors(
        self, ids: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Iterator[Vectors]:
        """Reads documents in pages, so that any number of them fits.

        Args:
            ids: the documents' ids; None for all
            progress: called with the number of ids that were read since the last time

        Returns:
            the vectors and tags of those that exist, in the order of ``ids``

        Raises:
            IndexChangedError: at the end, if others rebuilt the index in the meantime
        """
        yield from reading.read_pages(self.client, self.schema, ids, progress)
        self._confirm()

    def rebuild(self, progress: Progress | None = None, **changes: Any) -> None:
        """Makes the index another one over the documents that are there.

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
        if changes.get("storage") == "JSON":
            raise SettingsError(
                "A rebuild makes no JSON documents; leave storage out to keep documents as they "
                'are, or make HASHes of JSON documents with storage="HASH".'
            )
        with lease.hold(self.client, aliases.find_stable_name(self.client, self.schema)) as held:
            self._refresh()
            wanted = replace(self.schema, **changes)
            self.schema = rebuild(self.client, held, self.schema, wanted, progress)
        self._refresh()

    def drop(self, documents: bool = True) -> None:
        """Deletes the index and, unless told otherwise, its documents."""
        self._refresh()
        alias = aliases.find_stable_name(self.client, self.schema)
        with lease.hold(self.client, alias, patient=False):
            leftovers.remove(self.client, self.schema, fields_too=not documents)
            execute(self.client, *commands.drop(self.schema.name, documents))
        self._known.clear()

    @staticmethod
    def remove_leftovers(client: Client, name: str) -> None:
        """Removes what interrupted changes left of an index that does not exist any more.

        Args:
            client: a client of the server
            name: the index's name

        Raises:
            IndexMismatchError: if the index exists
        """
        with lease.hold(client, name, patient=False):
            if aliases.find_index(client, name) is not None:
                raise _taken(name)
            leftovers.remove_all(client, name, (f"{name}:",), documents=True)

    def _refresh(self) -> None:
        """Reads the index's definition again, but for what only queries know of."""
        known = self.schema
        # FiftyOne's own field of ids is found where it is; as HASHes, documents have none.
        is_own = known.storage == "JSON" and known.id_field == FIFTYONE_ID
        found = VectorIndex.open(
            self.client,
            known.name,
            vector_field=known.vector_name,
            id_field=None if is_own else known.id_field,
            tags=known.tags,
        )
        unread = {name: getattr(known, name) for name in UNREPORTED}
        self.schema = replace(found.schema, **unread)
        self._identity = found._identity
        self._known.clear()

    def _follow(self, error: FiftyOneRedisError, changes: int) -> int:
        """Reads the definition anew, so that what failed is done again, if the index has changed.

        Args:
            error: what it failed with
            changes: how often the index had changed before, during the same work

        Returns:
            how often it has changed now

        Raises:
            IndexNotFoundError: if the index is gone
            FiftyOneRedisError: that error, if the index has not changed, or changes again and again
        """
        is_wrong_input = isinstance(error, InputError) and not self._is_changed()
        if is_wrong_input or changes == _MOST_CHANGES:
            raise error
        self._refresh()
        return changes + 1

    def _read(self, read: Callable[[], T]) -> T:
        """Reads documents; does it again if the index has become another one meanwhile."""
        changes = 0
        while True:
            try:
                found = read()
                self._confirm()
                return found
            except _SIGNS_OF_CHANGE as error:
                changes = self._follow(error, changes)

    def _confirm(self, reply: Any = None) -> None:
        """Makes sure that the index is what it was when its definition was read, and is whole.

        Args:
            reply: what FT.INFO says of it now; it is asked if that is None

        Raises:
            IndexNotFoundError: if it is gone
            IndexChangedError: if it is not
        """
        if not self._identity:
            return
        if reply is None:
            reply = execute(self.client, *commands.info(self.schema.name))
        is_same = replies.read_identity(reply) == self._identity
        if not (is_same and replies.read_indexing(reply).is_complete):
            raise IndexChangedError(
                f"The index {self.schema.name!r} was rebuilt or made anew by others while it was "
                "used; repeat this."
            )

    def _is_changed(self) -> bool:
        try:
            self._confirm()
        except IndexChangedError:
            return True
        return False

    def _size(self) -> int:
        return self._remembered(reading.count_documents)

    def _sample(self) -> list[Hit]:
        return self._remembered(reading.sample_documents)

    def _remembered(self, read: Callable[[Client, Schema], T]) -> T:
        """Reads something of the index, and remembers it for a while: for estimates only."""
        now = time.monotonic()
        known = self._known.get(read)
        if known is None or now - known[0] > _REMEMBERED_SECONDS:
            known = self._known[read] = now, read(self.client, self.schema)
        found: T = known[1]
        return found

    def _request(
        self,
        vectors: codec.Array | list[bytes],
        k: int,
        within: Sequence[str] | Subset | None,
        farthest: bool,
    ) -> KnnRequest:
        if within is not None and not isinstance(within, Subset):
            within = IdSubset(within)
        return KnnRequest(
            self.client,
            self.schema,
            vectors,
            k,
            within,
            farthest,
            self._timeout_ms(),
            self._size,
            self._sample,
            self._confirm,
        )

    def _timeout_ms(self) -> int:
        seconds = QUERY_TIMEOUT if self.timeout is None else self.timeout
        return max(1, round(seconds * 1000))


def _read_definition(client: Client, name: str) -> Any:
    """Returns what FT.INFO says of an index, once it has all its documents."""
    while True:
        try:
            return wait_until_indexed(client, name)
        except IndexNotFoundError:
            if not leftovers.finish_switch(client, name):
                raise


def _taken(name: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"An index of the name {name!r} exists already; open it, or choose another index_name."
    )
