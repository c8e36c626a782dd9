"""Rebuilds an index with other settings, while the old index answers searches.

The new index is created on the same documents, under another name. When the server has filled it,
the alias moves to it atomically, and the old index is dropped without its documents. Until then the
old index is not touched.

An index made by others or by version 0.1.0 has no alias. It is dropped, and an alias of its name is
added, in one transaction. In a cluster these commands have no transaction: searches in between
wait (``leftovers.py``).

For another data type, converted vectors are written to a new field of each HASH, so that the old
index stays intact; the old field is removed at the end. A conversion from JSON to HASH copies the
documents to another prefix, and deletes the JSON documents with the old index.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import redis

from fiftyone_redis.connection import cluster, naming, wire
from fiftyone_redis.connection.client import execute, get_address
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.pipeline import exchange_or_raise
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.retry import Attempts
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.engine import (
    aliases,
    codec,
    commands,
    document_formats,
    documents,
    dtype_conversion,
    json_to_hash,
    keys,
    leftovers,
    reading,
)
from fiftyone_redis.engine.indexing import wait_until_indexed
from fiftyone_redis.engine.lease import Lease
from fiftyone_redis.engine.leftovers import Record
from fiftyone_redis.engine.overlap import find_overlapping, refuse_overlap
from fiftyone_redis.engine.reading import Progress
from fiftyone_redis.engine.requirements import require_support
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError, list_first


def rebuild(
    client: Client, lease: Lease, schema: Schema, wanted: Schema, progress: Progress | None = None
) -> Schema:
    """Rebuilds an index.

    Args:
        client: a client of the server
        lease: the lease of the index's alias
        schema: the old index
        wanted: the new index, with the name, prefix, fields and dimension of ``schema``
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
    require_support(client, wanted)
    if schema.lost:
        raise IndexMismatchError(
            f"A rebuild cannot carry over some properties of the index {schema.name!r}: "
            f"{list_first(list(schema.lost))}; it was left unchanged."
        )
    leftovers.remove(client, schema)
    dtype_conversion.check_vectors(client, schema, wanted)
    alias = aliases.find_stable_name(client, schema)
    wanted = replace(wanted, server_name=naming.make_index_name(alias))
    if wanted.storage != schema.storage:
        return _rebuild_as_hashes(client, lease, schema, wanted, alias, progress)
    if wanted.dtype != schema.dtype and wanted.storage == "HASH":
        return _rebuild_with_dtype(client, lease, schema, wanted, alias, progress)
    with ExitStack() as undo:
        _create_and_fill(client, undo, wanted, progress)
        _commit(lease, undo)
    _switch(client, schema, wanted, alias, {})
    leftovers.remove_record(client, alias)
    return wanted


def _commit(lease: Lease, undo: ExitStack) -> None:
    """Keeps the new index: from here on, a failed rebuild is finished later, not undone."""
    lease.check()
    undo.pop_all()


def _create_and_fill(
    client: Client, undo: ExitStack, wanted: Schema, progress: Progress | None
) -> None:
    """Creates an index and waits until it is filled; drops it if that fails."""
    execute(client, *commands.create(wanted))
    undo.callback(_drop, client, wanted.server_name, documents=False)
    wait_until_indexed(client, wanted.server_name, progress)


def _rebuild_with_dtype(
    client: Client,
    lease: Lease,
    schema: Schema,
    wanted: Schema,
    alias: str,
    progress: Progress | None,
) -> Schema:
    """Rebuilds an index on the same documents, with vectors of another type in a new field."""
    _refuse_shared(client, schema)
    wanted = replace(wanted, vector_field=dtype_conversion.new_vector_field(schema))
    new, old = {wanted.vector_field: wanted.dtype}, {schema.vector_field: schema.dtype}
    leftovers.write_record(client, alias, Record(fields=new))
    with ExitStack() as undo:
        undo.callback(leftovers.remove_record, client, alias)
        undo.callback(dtype_conversion.remove_field, client, schema, wanted.vector_field)
        dtype_conversion.convert_vectors(client, schema, wanted)
        _create_and_fill(client, undo, wanted, progress)
        dtype_conversion.convert_vectors(client, schema, wanted)  # documents added meanwhile
        _commit(lease, undo)
    _switch(client, schema, wanted, alias, {**new, **old})
    former = replace(schema, server_name=wanted.server_name)
    # Vectors added by clients that still used the old index.
    dtype_conversion.convert_vectors(client, former, wanted)
    dtype_conversion.remove_field(client, wanted, schema.vector_field)
    leftovers.remove_record(client, alias)
    return wanted


def _rebuild_as_hashes(
    client: Client,
    lease: Lease,
    schema: Schema,
    wanted: Schema,
    alias: str,
    progress: Progress | None,
) -> Schema:
    """Rebuilds an index of JSON documents on HASH copies of them."""
    _refuse_shared(client, schema)
    changed = replace(wanted, storage=schema.storage, vector_field=schema.vector_field)
    built = json_to_hash.convert_schema(changed, leftovers.copies_prefix(wanted.server_name))
    refuse_overlap(client, built)
    execute(client, *commands.create(built))
    with ExitStack() as undo:
        undo.callback(_drop, client, built.server_name, documents=True)
        wait_until_indexed(client, built.server_name)
        _copy_missing(client, schema, built, progress)
        found = _copy_missing(client, schema, built, None)  # documents added meanwhile
        gone = set(reading.list_ids(client, built)) - found.keys()
        documents.delete(client, built, list(gone))
        _commit(lease, undo)
    _switch(client, schema, built, alias, {})
    leftovers.remove_record(client, alias)
    return built


def _copy_missing(
    client: Client, schema: Schema, built: Schema, progress: Progress | None
) -> dict[str, str]:
    """Copies the JSON documents that the new index lacks to HASHes.

    Returns:
        the keys of all JSON documents, by their ids
    """
    there = set(reading.list_ids(client, built))
    found = keys.map_ids_to_keys(schema, keys.read_id_pages(client, schema))
    lacking = [id for id in found if id not in there]
    for batch in documents.batches(len(lacking), schema):
        ids = lacking[batch]
        _copy_batch(client, schema, built, ids, [found[id] for id in ids])
        if progress is not None:
            progress(len(ids))
    return found


def _copy_batch(
    client: Client, schema: Schema, built: Schema, ids: Sequence[str], old_keys: Sequence[str]
) -> None:
    reads = (document_formats.read_document_command(wire.to_bytes(key)) for key in old_keys)
    [(_, answers)] = list(exchange_or_raise(client, [wire.pack_keyed(reads, ids)]))
    held = {
        id: json_to_hash.read_document(schema, id, reply)
        for id, reply in zip(ids, answers, strict=True)
        if reply  # the document may have been deleted
    }
    vectors = {id: blob for id, (_, blob) in held.items() if blob is not None}
    matrix = codec.decode(list(vectors.values()), schema.dtype, schema.dim, list(vectors))
    rows = {id: matrix[row] for row, id in enumerate(vectors)}
    writes = (
        json_to_hash.write_command(
            built, wire.to_bytes(built.prefix + id), id, members, rows.get(id)
        )
        for id, (members, _) in held.items()
    )
    for _ in exchange_or_raise(client, [wire.pack_keyed(writes, list(held))]):
        pass


def _refuse_shared(client: Client, schema: Schema) -> None:
    """Raises if another index shares the documents that are about to change."""
    others = find_overlapping(client, schema)
    if others:
        raise IndexMismatchError(
            f"The index {schema.name!r} shares its documents with {list_first(others)}, which "
            "would lose them; it was left unchanged."
        )


def _switch(
    client: Client, schema: Schema, built: Schema, alias: str, fields: dict[str, str]
) -> None:
    """Points the names of an index at the complete new index, and drops the old one.

    Args:
        client: a client of the server
        schema: the old index
        built: the new index
        alias: the name that survives
        fields: the vector fields that only one of the two indexes uses, with their types
    """
    old, new = schema.server_name, built.server_name
    leftovers.write_record(client, alias, Record(new, fields))
    for name in dict.fromkeys([schema.name, alias]):
        if name != old:
            execute(client, *commands.move_alias(name, new))
    is_moved = schema.storage != built.storage
    if alias == old:
        _replace_with_alias(client, old, new, documents=is_moved)
    else:
        _drop(client, old, documents=is_moved)


def _replace_with_alias(client: Client, old: str, new: str, *, documents: bool) -> None:
    """Replaces an index with an alias of the same name; both cannot exist at once."""
    if isinstance(client, redis.RedisCluster):
        _drop(client, old, documents=documents)
        execute(client, *commands.add_alias(old, new))
        return
    switch = [commands.drop(old, documents), commands.add_alias(old, new)]
    transaction: list[wire.Command] = [["MULTI"], *switch, ["EXEC"]]
    request = b"".join(wire.pack(command) for command in transaction)
    attempts = Attempts(client)
    with translate_errors(get_address(client)):
        while True:
            try:
                _execute_transaction(client, request, len(transaction))
            except redis.RedisError as error:
                cluster.wait_and_recover(
                    client, attempts, error
                )  # raises unless the connection was lost
                if aliases.find_index(client, old) == new:
                    return  # only the reply was lost
            else:
                return


def _execute_transaction(client: redis.Redis, request: bytes, count: int) -> None:
    """Sends MULTI, some commands and EXEC in one request; raises the first error of any of them."""
    answers: list[Any] = []
    with borrow_connection(client) as connection:
        connection.send_packed_command([request])
        while len(answers) < count:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
    executed = answers.pop()
    answers += executed if isinstance(executed, list) else [executed]
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            raise answer


def _drop(client: Client, name: str, *, documents: bool) -> None:
    """Drops an index if it exists."""
    try:
        execute(client, *commands.drop(name, documents))
    except IndexNotFoundError:
        return
