"""Converts vectors to another data type, in a new field, so that the old vectors stay intact."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import codec, documents, reading
from fiftyone_redis.engine.schema import Schema


def new_vector_field(schema: Schema) -> str:
    """Returns the name of a new vector field that no document has yet."""
    return f"{schema.vector_name}_{secrets.token_hex(4)}"


def check_vectors(client: Client, schema: Schema, wanted: Schema) -> None:
    """Raises unless the vectors of an index fit the data type and metric of a rebuilt one.

    Raises:
        InputError: if some do not; names the first few
    """
    if wanted.dtype == schema.dtype and (wanted.metric != "cosine" or schema.metric == "cosine"):
        return
    for ids, matrix in _read_vectors(client, schema):
        codec.check_vectors(matrix, wanted, ids)


def convert_vectors(client: Client, schema: Schema, wanted: Schema) -> None:
    """Writes converted vectors to the documents that lack the new vector field.

    Args:
        client: a client of the server
        schema: the index of the documents
        wanted: the schema of the rebuilt index, which need not exist yet
    """
    target = replace(wanted, server_name=schema.server_name)
    for ids, matrix in _read_vectors(client, schema, lacking=wanted.vector_field):
        for _ in documents.write(client, target, ids, matrix, {}):
            pass


def remove_field(client: Client, schema: Schema, field: str) -> None:
    """Removes a field from all documents of an index."""
    documents.remove_field(client, schema, reading.list_ids(client, schema), field)


def _read_vectors(
    client: Client, schema: Schema, lacking: str | None = None
) -> Iterator[tuple[list[str], codec.Array]]:
    """Yields pages of ids and vectors: of all documents, or of those that lack a field."""
    fields = [schema.vector_field, *([lacking] if lacking else [])]
    ids = reading.list_ids(client, schema)
    for batch, rows in documents.read(client, schema, ids, fields):
        kept = [
            (id, row[0])
            for id, row in zip(batch, rows, strict=True)
            if row[0] is not None and (lacking is None or row[1] is None)
        ]
        blobs = [blob for _, blob in kept]
        kept_ids = [id for id, _ in kept]
        yield kept_ids, codec.decode(blobs, schema.dtype, schema.dim, kept_ids)
