"""Rebuilds an index with other settings, while the old index answers searches.

The new index is created on the same documents, under another name. When the server has filled it,
the alias moves to it atomically, and the old index is dropped without its documents
(``switching.py``). Until then the old index is not touched.

For another data type, converted vectors are written to a new field of each HASH, so that the old
index stays intact; the old field is removed at the end. A conversion from JSON to HASH copies the
documents to another prefix, and deletes the JSON documents with the old index.

Writers of this package wait for the lease and repeat what they wrote beside the rebuild
(:meth:`Definition.write`). Documents that other programs add meanwhile are converted too, but not
those that they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents import formats, keys
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.lifecycle import dtype_conversion, json_to_hash, leftovers, switching
from fiftyone_redis.engine.lifecycle.lease import Lease
from fiftyone_redis.engine.lifecycle.overlap import find_overlapping, refuse_overlap
from fiftyone_redis.engine.lifecycle.records import Record, Switch, remove_record, write_record
from fiftyone_redis.engine.protocol import aliases, commands
from fiftyone_redis.engine.protocol.indexing import wait_until_indexed
from fiftyone_redis.engine.protocol.requirements import require_support
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import (
    IndexChangedError,
    IndexMismatchError,
    ServerError,
    SettingsError,
    list_first,
)
from fiftyone_redis.log import get_logger

logger = get_logger(__name__)


def change_schema(schema: Schema, changes: Mapping[str, Any]) -> Schema:
    """Returns the schema of a rebuilt index.

    Raises:
        SettingsError: if a value is not supported, or JSON documents are asked for
    """
    if str(changes.get("storage")).upper() == "JSON":
        raise SettingsError(
            "rebuild() cannot create JSON documents; leave out storage to keep documents as they "
            'are, or convert JSON documents with storage="HASH".'
        )
    return replace(schema, **changes)


def rebuild(
    documents: Documents, lease: Lease, alias: str, wanted: Schema, progress: Progress | None = None
) -> Schema:
    """Rebuilds an index.

    Args:
        documents: the documents of the old index, behind the lease's fence
        lease: the lease of the index's alias
        alias: the alias, or the index's own name if it has none
        wanted: the new index, with the name, prefix, fields and dimension of the old one
        progress: called with the number of documents indexed since the last call

    Returns:
        the schema of the new index

    Raises:
        SettingsError: if HASHes would become JSON documents; nothing changes
        InputError: if vectors do not fit the new data type or metric; nothing changes
        IndexMismatchError: if a property of the index or its documents cannot be carried over;
            nothing changes
        UnsupportedServerError: if the server does not support such an index; nothing changes
        FiftyOneRedisError: if the server fails; the old index still works, and the rebuild can be
            repeated
    """
    schema = documents.schema
    require_support(documents.client, wanted)
    if schema.lost:
        raise IndexMismatchError(
            f"A rebuild cannot carry over some properties of the index {schema.name!r}: "
            f"{list_first(list(schema.lost))}; it was left unchanged."
        )
    leftovers.remove(documents, alias, lease.fence)
    dtype_conversion.check_vectors(documents, wanted)
    wanted = replace(wanted, server_name=naming.make_index_name(alias))
    running = _Rebuild(documents, lease, alias, wanted, progress)
    if wanted.storage != schema.storage:
        return running.copy_to_hashes()
    if wanted.dtype != schema.dtype and wanted.storage == "HASH":
        return running.convert_dtype()
    return running.index_again()


class _Rebuild:
    """A rebuild that runs; see :func:`rebuild`."""

    def __init__(
        self,
        documents: Documents,
        lease: Lease,
        alias: str,
        wanted: Schema,
        progress: Progress | None,
    ) -> None:
        self._client = documents.client
        self._old = documents
        self._lease = lease
        self._alias = alias
        self._wanted = wanted
        self._progress = progress

    def index_again(self) -> Schema:
        """Makes another index of the same documents and vectors."""
        with ExitStack() as undo:
            self._create(undo, self._wanted, documents=False)
            wait_until_indexed(self._client, self._wanted.server_name, self._progress)
            record = self._decide(undo, self._wanted, {})
        self._finish(record)
        return self._wanted

    def convert_dtype(self) -> Schema:
        """Makes an index of the same documents, with vectors of another type in a new field."""
        self._refuse_shared()
        old, client = self._old, self._client
        wanted = replace(self._wanted, vector_field=dtype_conversion.new_vector_field(old.schema))
        new_field = {wanted.vector_field: wanted.dtype}
        fields = {**new_field, old.schema.vector_field: old.schema.dtype}
        write_record(self._lease.fence, self._alias, Record(fields=new_field))
        with ExitStack() as undo:
            undo.callback(remove_record, self._lease.fence, self._alias)
            undo.callback(
                dtype_conversion.remove_field, Documents(client, old.schema), wanted.vector_field
            )
            dtype_conversion.convert_vectors(old, wanted)
            self._create(undo, wanted, documents=False)
            wait_until_indexed(client, wanted.server_name, self._progress)
            record = self._decide(undo, wanted, fields)
        self._finish(record, wanted)
        return wanted

    def copy_to_hashes(self) -> Schema:
        """Makes an index of HASH copies of JSON documents."""
        self._refuse_shared()
        old, wanted = self._old.schema, self._wanted
        changed = replace(wanted, storage=old.storage, vector_field=old.vector_field)
        built = json_to_hash.convert_schema(changed, leftovers.copies_prefix(wanted.server_name))
        copies = Documents(self._client, built)
        refuse_overlap(copies)
        with ExitStack() as undo:
            self._create(undo, built, documents=True)
            wait_until_indexed(self._client, built.server_name)
            self._copy_missing(copies, self._progress)
            found = self._copy_missing(copies, None)  # documents added meanwhile
            copies.delete(list(set(copies.list_ids()) - found.keys()))
            record = self._decide(undo, built, {})
        self._finish(record)
        return built

    def _create(self, undo: ExitStack, wanted: Schema, *, documents: bool) -> None:
        """Creates an index; drops it if what follows fails, with or without its documents."""
        self._client.execute(*commands.create(wanted))
        undo.callback(switching.drop, self._client, wanted.server_name, documents=documents)

    def _decide(self, undo: ExitStack, built: Schema, fields: dict[str, str]) -> Record:
        """Decides for the new index: from here on, a rebuild is finished later, never undone.

        Args:
            undo: what would undo the rebuild
            built: the new index
            fields: the vector fields that only one of the two indexes uses, with their types

        Raises:
            IndexChangedError: if the lease was lost
        """
        old = self._old.schema
        switch = Switch(
            old.server_name,
            built.server_name,
            tuple(dict.fromkeys([old.name, self._alias])),
            drops_documents=old.storage != built.storage,
        )
        record = Record(switch, fields)
        # If no answer comes, it may be decided: nothing is undone then.
        undoing = undo.pop_all()
        try:
            self._lease.set_if_held(commands.record_key(self._alias), record.to_json())
        except (IndexChangedError, ServerError):
            # Others may have found the decision, and have gone on from there.
            if aliases.find_index(self._client, self._alias) != built.server_name:
                undoing.close()
                raise
        return record

    def _finish(self, record: Record, converted: Schema | None = None) -> None:
        """Finishes a rebuild that was decided, unless another process has gone on with it.

        Args:
            record: what was decided
            converted: the new index, if its vectors are of another type
        """
        old = self._old
        with suppress(IndexChangedError):  # others were faster, or only a reply was lost
            switching.finish_switch(self._client, self._alias, record)
        try:
            if converted is not None:
                # Vectors that other programs have added.
                found = old.of(replace(old.schema, server_name=converted.server_name))
                dtype_conversion.convert_vectors(found, converted)
                dtype_conversion.remove_field(old.of(converted), old.schema.vector_field)
            remove_record(self._lease.fence, self._alias)
        except IndexChangedError:
            logger.info("Another process went on with the rebuild of %r", self._alias)

    def _copy_missing(self, copies: Documents, progress: Progress | None) -> dict[str, str]:
        """Copies the JSON documents that the new index lacks to HASHes.

        Returns:
            the keys of all JSON documents, by their ids
        """
        there = set(copies.list_ids())
        found = keys.map_ids_to_keys(self._old.schema, self._old.keys.read_pages())
        lacking = [id for id in found if id not in there]
        for batch in self._old.batches(len(lacking)):
            ids = lacking[batch]
            self._copy_batch(copies, ids, [found[id] for id in ids])
            if progress is not None:
                progress(len(ids))
        return found

    def _copy_batch(self, copies: Documents, ids: Sequence[str], old_keys: Sequence[str]) -> None:
        schema, built = self._old.schema, copies.schema
        reads = (formats.read_document_command(wire.to_bytes(key)) for key in old_keys)
        [(_, answers)] = list(self._client.exchange_or_raise([wire.pack_keyed(reads, ids)]))
        held = {
            id: json_to_hash.read_document(schema, id, reply)
            for id, reply in zip(ids, answers, strict=True)
            if reply  # the document may have been deleted
        }
        vectors = {id: blob for id, (_, blob) in held.items() if blob is not None}
        matrix = encoding.decode(list(vectors.values()), schema.dtype, schema.dim, list(vectors))
        rows = {id: matrix[row] for row, id in enumerate(vectors)}
        writes = (
            json_to_hash.write_command(
                built, wire.to_bytes(built.prefix + id), id, members, rows.get(id)
            )
            for id, (members, _) in held.items()
        )
        request = self._lease.fence.pack(writes, list(held), test=())
        for _ in self._client.exchange_or_raise([request]):
            pass

    def _refuse_shared(self) -> None:
        """Raises if another index shares the documents that are about to change."""
        others = find_overlapping(self._old)
        if others:
            raise IndexMismatchError(
                f"The index {self._old.schema.name!r} shares its documents with "
                f"{list_first(others)}, which would lose them; it was left unchanged."
            )
