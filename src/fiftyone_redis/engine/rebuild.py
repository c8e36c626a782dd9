"""Rebuilds an index over the documents that are there, while the old one goes on answering.

A new index is made on the same documents, under the index's name and a number. When the server has
filled it, the name becomes an alias of it, and the old index is dropped without its documents. The
server looks a name up among indexes before aliases, so that dropping the old index, one command, is
the moment of the change. Until then nothing of the old index is touched.

Another data type needs other bytes in HASHes. They are written to a field of their own, so that the
old index stays whole; the old field is removed at the end. Another form of the documents needs
documents of its own, under another prefix; the old ones are removed at the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fiftyone_redis.engine import (
    codec,
    conversion,
    documents,
    keys,
    protocol,
    reading,
    replies,
    storage,
)
from fiftyone_redis.engine.capabilities import require
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.connection import execute
from fiftyone_redis.engine.errors import (
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    some,
)
from fiftyone_redis.engine.overlap import refuse_overlap, sharing
from fiftyone_redis.engine.pipeline import accepted
from fiftyone_redis.engine.reading import Progress
from fiftyone_redis.engine.schema import Schema

_POLL_SECONDS = 0.02
_GENERATION = re.compile(r"(.*)~(\d+)")


def rebuild(
    client: Client, schema: Schema, wanted: Schema, progress: Progress | None = None
) -> Schema:
    """Rebuilds an index.

    Args:
        client: a client of the server
        schema: the index
        wanted: what it is to become; its name, prefix, fields and dimension are those of ``schema``
        progress: called with the number of documents indexed since the last time

    Returns:
        the schema of the new index

    Raises:
        InputError: if vectors that are there cannot be held or compared that way; nothing changes
        IndexMismatchError: if something of the index or its documents cannot be carried over;
            nothing changes
        UnsupportedServerError: if the server cannot hold such an index; nothing changes
        FiftyOneRedisError: if the server cannot do it; the old index works on, and this can be
            called again
    """
    require(client, wanted)
    if schema.lost:
        raise IndexMismatchError(
            f"The index {schema.name!r} has what a rebuild cannot carry over: "
            f"{some(list(schema.lost))}; it was left as it is."
        )
    _check(client, schema, wanted)
    old, new = _generations(client, schema)
    moves = wanted.storage != schema.storage
    converts = wanted.dtype != schema.dtype and wanted.storage == "HASH"
    if moves or converts:
        _refuse_shared(client, replace(schema, name=old))
    if moves:
        return _moved(client, schema, wanted, old, new, progress)
    if converts:
        wanted = replace(wanted, vector_field=f"{wanted.vector_name}_{wanted.dtype}")
        _convert(client, schema, wanted)
    execute(client, *protocol.create(replace(wanted, name=new)))
    _wait(client, new, progress)
    _switch(client, schema.name, old, new)
    if converts:
        _convert(client, schema, wanted)  # what was added meanwhile by those who knew the old one
        documents.clear(client, schema, reading.ids(client, schema), schema.vector_field)
    return wanted


def _moved(
    client: Client,
    schema: Schema,
    wanted: Schema,
    old: str,
    new: str,
    progress: Progress | None,
) -> Schema:
    """Rebuilds an index on documents of the other form."""
    base = _base(old)
    prefix = f"{base}:" if f"{base}:" not in schema.prefixes else f"{new}~:"
    changed = replace(wanted, storage=schema.storage, vector_field=schema.vector_field)
    built = replace(conversion.converted(changed, prefix), name=new)
    _refuse_taken(client, built)
    execute(client, *protocol.create(built))
    try:
        _wait(client, new, None)
        _copy(client, schema, built, progress)
    except (IndexMismatchError, InputError):
        execute(client, *protocol.drop(new, documents=True))
        raise
    found = _copy(client, schema, built, None)  # what was added meanwhile
    gone = set(reading.ids(client, built)) - found.keys()
    documents.delete(client, built, list(gone))
    _switch(client, schema.name, old, new)
    documents.unlink(client, schema, list(found.values()))
    return replace(built, name=schema.name)


def _copy(
    client: Client, schema: Schema, built: Schema, progress: Progress | None
) -> dict[str, str]:
    """Copies the documents that a new index lacks to the other form.

    Returns:
        the keys of all documents, by their ids
    """
    there = set(reading.ids(client, built))
    found = keys.by_id(schema, keys.pages(client, schema))
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
    reads = b"".join(
        protocol.pack(storage.read_whole(schema, protocol.raw(key))) for key in old_keys
    )
    [(_, answers)] = list(accepted(client, [(reads, ids)]))
    held = {
        id: conversion.read(schema, id, reply)
        for id, reply in zip(ids, answers, strict=True)
        if reply  # it may have been removed
    }
    vectors = {id: blob for id, (_, blob) in held.items() if blob is not None}
    matrix = codec.decode(list(vectors.values()), schema.dtype, schema.dim, list(vectors))
    rows = {id: matrix[row] for row, id in enumerate(vectors)}
    writes = b"".join(
        protocol.pack(conversion.write(built, built.prefix + id, id, members, rows.get(id)))
        for id, (members, _) in held.items()
    )
    for _ in accepted(client, [(writes, list(held))] if held else []):
        pass


def _refuse_shared(client: Client, schema: Schema) -> None:
    """Raises if another index reads the documents that are about to be changed."""
    others = sharing(client, schema)
    if others:
        raise IndexMismatchError(
            f"The index {schema.name!r} shares its documents with {some(others)}, which would lose "
            "them; it was left as it is."
        )


def _refuse_taken(client: Client, built: Schema) -> None:
    """Raises unless a new prefix is free, of indexes and of documents."""
    refuse_overlap(client, built)
    direct = replace(built, id_field=None)
    taken = next(documents.walk(client, direct), [])
    if taken:
        raise IndexMismatchError(
            f"There are documents already under the prefix {built.prefix!r} that the new ones "
            f"would get: {some([repr(id) for id in taken])}; remove or rename them."
        )


def _check(client: Client, schema: Schema, wanted: Schema) -> None:
    if wanted.dtype == schema.dtype and (wanted.metric != "cosine" or schema.metric == "cosine"):
        return
    for ids, matrix in _vectors(client, schema):
        codec.check(matrix, wanted, ids)


def _generations(client: Client, schema: Schema) -> tuple[str, str]:
    """Returns the index behind the name, and a name for a new one; drops what died half-way."""
    old = replies.read_info(execute(client, *protocol.info(schema.name)))["index_name"]
    base = _base(old)
    number = 1
    for name in [protocol.text(name) for name in execute(client, *protocol.names())]:
        match = _GENERATION.fullmatch(name)
        if match is None or match[1] != base:
            continue
        if name == old or not _drop_leftover(client, schema, base, name):
            number = max(number, int(match[2]))
    return old, f"{base}~{number + 1}"


def _base(name: str) -> str:
    """Returns the name that a rebuilt index had before it got a number."""
    match = _GENERATION.fullmatch(name)
    return match[1] if match else name


def _drop_leftover(client: Client, schema: Schema, base: str, name: str) -> bool:
    """Drops an index that a rebuild left behind, and nothing that others made."""
    try:
        info = replies.read_info(execute(client, *protocol.info(name)))
    except IndexNotFoundError:
        return True
    same = replies.read_prefixes(info, schema.storage) == schema.prefixes
    other = "JSON" if schema.storage == "HASH" else "HASH"
    copies = replies.read_prefixes(info, other) in ((f"{base}:",), (f"{name}~:",))
    if same or copies:
        execute(client, *protocol.drop(name, documents=copies))
    return same or copies


def _convert(client: Client, schema: Schema, wanted: Schema) -> None:
    """Writes the vectors of all documents that lack the wanted field to it."""
    for ids, matrix in _vectors(client, schema, lacking=wanted.vector_field):
        for _ in documents.write(client, wanted, ids, matrix, {}):
            pass


def _vectors(
    client: Client, schema: Schema, lacking: str | None = None
) -> Iterator[tuple[list[str], codec.Array]]:
    """Yields the vectors of all documents, or of those that lack a field, in pages."""
    fields = [schema.vector_field, *([lacking] if lacking else [])]
    ids = reading.ids(client, schema)
    for batch, rows in documents.read(client, schema, ids, fields):
        kept = [
            (id, row[0])
            for id, row in zip(batch, rows, strict=True)
            if row[0] is not None and (lacking is None or row[1] is None)
        ]
        blobs = [blob for _, blob in kept]
        kept_ids = [id for id, _ in kept]
        yield kept_ids, codec.decode(blobs, schema.dtype, schema.dim, kept_ids)


def _wait(client: Client, name: str, progress: Progress | None) -> None:
    done = 0
    while True:
        info: dict[str, Any] = replies.read_info(execute(client, *protocol.info(name)))
        if progress is not None:
            progress(int(info["num_docs"]) - done)
        done = int(info["num_docs"])
        if not int(info["indexing"]):
            return
        time.sleep(_POLL_SECONDS)


def _switch(client: Client, name: str, old: str, new: str) -> None:
    base = _base(old)
    # The name may itself be an alias of an index that others call by its own name.
    is_generation = base != old and _behind(client, base) == old
    for each in dict.fromkeys([name, base if is_generation else old]):
        execute(client, *protocol.alias(each, new, exists=each != old))
    execute(client, *protocol.drop(old, documents=False))


def _behind(client: Client, name: str) -> str | None:
    """Returns the index behind a name, if there is one."""
    try:
        found = replies.read_info(execute(client, *protocol.info(name)))["index_name"]
    except IndexNotFoundError:
        return None
    return str(found)
