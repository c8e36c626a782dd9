"""Rebuilds an index over the documents that are there, while the old one goes on answering.

A new index is made on the same documents, under the index's name and a number. When the server has
filled it, the name becomes an alias of it, and the old index is dropped without its documents. The
server looks a name up among indexes before aliases, so that dropping the old index, one command, is
the moment of the change. Until then nothing of the old index is touched.

Another data type needs other bytes in the documents. They are written to a field of their own, so
that the old index stays whole; the old field is removed at the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fiftyone_redis.engine import codec, documents, protocol, reading
from fiftyone_redis.engine.capabilities import capabilities, require
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.connection import execute
from fiftyone_redis.engine.errors import UnsupportedServerError
from fiftyone_redis.engine.reading import Progress
from fiftyone_redis.engine.schema import Schema

_POLL_SECONDS = 0.02


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
        UnsupportedServerError: if the server cannot hold such an index, or cannot switch to it;
            nothing changes
        FiftyOneRedisError: if the server cannot do it; the old index works on, and this can be
            called again
    """
    require(client, wanted)
    if not capabilities(client).redisearch:
        raise UnsupportedServerError(
            f"This server ({capabilities(client)}) cannot put one index in another's place, so "
            "nothing can be rebuilt on it; make a new index instead."
        )
    _check(client, schema, wanted)
    converts = wanted.dtype != schema.dtype
    if converts:
        wanted = replace(wanted, vector_field=f"vector_{wanted.dtype}")
    old, new = _generations(client, schema)
    if converts:
        _convert(client, schema, wanted)
    built = replace(wanted, name=new)
    execute(client, *protocol.create(built))
    _wait(client, new, progress)
    _switch(client, schema.name, old, new)
    if converts:
        _convert(client, schema, wanted)  # what was added meanwhile by those who knew the old one
        documents.clear(client, schema, reading.ids(client, schema), schema.vector_field)
    return wanted


def _check(client: Client, schema: Schema, wanted: Schema) -> None:
    if wanted.dtype == schema.dtype and (wanted.metric != "cosine" or schema.metric == "cosine"):
        return
    for ids, matrix in _vectors(client, schema):
        codec.check(matrix, wanted, ids)


def _generations(client: Client, schema: Schema) -> tuple[str, str]:
    """Returns the index behind the name, and a name for a new one; drops what died half-way."""
    old = protocol.read_info(execute(client, *protocol.info(schema.name)))["index_name"]
    pattern = re.compile(re.escape(schema.name) + r"~(\d+)")
    number = 1
    for name in [protocol.text(name) for name in execute(client, *protocol.names())]:
        match = pattern.fullmatch(name)
        if match and name != old:
            execute(client, *protocol.drop(name, documents=False))
        elif match:
            number = int(match[1])
    return old, f"{schema.name}~{number + 1}"


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
        yield [id for id, _ in kept], codec.decode(blobs, schema.dtype, schema.dim)


def _wait(client: Client, name: str, progress: Progress | None) -> None:
    done = 0
    while True:
        info: dict[str, Any] = protocol.read_info(execute(client, *protocol.info(name)))
        if progress is not None:
            progress(int(info["num_docs"]) - done)
        done = int(info["num_docs"])
        if not int(info["indexing"]):
            return
        time.sleep(_POLL_SECONDS)


def _switch(client: Client, name: str, old: str, new: str) -> None:
    execute(client, *protocol.alias(name, new, exists=old != name))
    execute(client, *protocol.drop(old, documents=False))
