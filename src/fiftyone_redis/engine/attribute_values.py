"""Writes the attributes of documents: beside new vectors, and anew where they have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import documents
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.document_formats import FieldValues
from fiftyone_redis.engine.documents import AttributeReader
from fiftyone_redis.engine.reading import Progress
from fiftyone_redis.engine.schema import Schema

_ROWS = 2048  # documents that are compared at a time


def write(
    client: Client,
    schema: Schema,
    ids: Sequence[str],
    matrix: Array,
    tags: FieldValues,
    read: AttributeReader,
) -> Iterator[int]:
    """Writes documents with their attributes; see :func:`documents.write`.

    An attribute that an older document of the same id had, and now has not, is removed.
    """
    lacking: dict[str, list[str]] = {attribute.name: [] for attribute in schema.attributes}

    def reading(batch: Sequence[str]) -> FieldValues:
        columns = read(batch)
        for name, values in columns.items():
            lacking[name] += [id for id, v in zip(batch, values, strict=True) if v is None]
        return columns

    yield from documents.write(client, schema, ids, matrix, tags, reading)
    for name, without in lacking.items():
        documents.remove_field(client, schema, without, name)


def update(
    client: Client,
    schema: Schema,
    ids: Sequence[str],
    read: AttributeReader,
    progress: Progress | None = None,
) -> int:
    """Writes those attributes of existing documents that are not what they should be.

    They are compared first: the server indexes a document anew when any of its fields is written,
    which takes an HNSW index longer than adding a new one.

    Args:
        client: a client of the server
        schema: the index
        ids: the documents' ids; those that do not exist are passed over
        read: tells what the attributes should be
        progress: called with the number of ids that were looked at since the last time

    Returns:
        how many documents were changed
    """
    changed = 0
    for start in range(0, len(ids), _ROWS):
        batch = ids[start : start + _ROWS]
        changes = _differences(client, schema, batch, read(batch))
        there = documents.find_existing(client, schema, list(changes))
        documents.update_fields(client, schema, {id: changes[id] for id in changes if id in there})
        changed += len(there)
        if progress is not None:
            progress(len(batch))
    return changed


def _differences(
    client: Client, schema: Schema, ids: Sequence[str], wanted: FieldValues
) -> dict[str, dict[str, str | None]]:
    """Returns, for each document that is to change, the fields that differ."""
    names = list(wanted)
    held = [row for _, rows in documents.read(client, schema, ids, names) for row in rows]
    changes = {}
    for id, old, *new in zip(ids, held, *wanted.values(), strict=True):
        different = {
            name: value
            for name, blob, value in zip(names, old, new, strict=True)
            if blob != (None if value is None else wire.raw(value))
        }
        if different:
            changes[id] = different
    return changes
