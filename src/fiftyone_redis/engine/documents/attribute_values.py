"""Writes the attributes of documents, with new vectors or where they have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import AttributeReader, Documents
from fiftyone_redis.engine.documents.formats import FieldValues
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.vectors.encoding import Array

_ROWS = 2048  # documents compared per batch


def write(
    documents: Documents,
    ids: Sequence[str],
    matrix: Array,
    tags: FieldValues,
    read: AttributeReader | None,
) -> Iterator[int]:
    """Writes documents with their attributes, if any are read; see :meth:`Documents.write`.

    Removes attributes that an existing document has and the new one lacks.
    """
    if read is None:
        yield from documents.write(ids, matrix, tags)
        return
    lacking: dict[str, list[str]] = {
        attribute.name: [] for attribute in documents.schema.attributes
    }

    def reading(batch: Sequence[str]) -> FieldValues:
        columns = read(batch)
        for name, values in columns.items():
            without = [id for id, v in zip(batch, values, strict=True) if v is None]
            lacking.setdefault(name, []).extend(without)
        return columns

    yield from documents.write(ids, matrix, tags, reading)
    for name, without in lacking.items():
        documents.remove_field(without, name)


def update(
    documents: Documents,
    ids: Sequence[str],
    read: AttributeReader,
    progress: Progress | None = None,
) -> int:
    """Updates the attributes of existing documents, and writes only those that differ.

    Writing any field re-indexes the document, which takes longer in an HNSW index than adding a
    new one.

    Args:
        documents: the documents of the index
        ids: the documents' ids; unknown ids are skipped
        read: returns the current attributes of a batch of documents
        progress: called with the number of ids checked since the last call

    Returns:
        the number of documents that were changed
    """
    changed = 0
    for start in range(0, len(ids), _ROWS):
        batch = ids[start : start + _ROWS]
        changes = _differences(documents, batch, read(batch))
        there = documents.find_existing(list(changes))
        documents.update_fields({id: changes[id] for id in changes if id in there})
        changed += len(there)
        if progress is not None:
            progress(len(batch))
    return changed


def _differences(
    documents: Documents, ids: Sequence[str], wanted: FieldValues
) -> dict[str, dict[str, str | None]]:
    """Returns the fields that differ, for each document that has any."""
    names = list(wanted)
    held = [row for _, rows in documents.read(ids, names) for row in rows]
    changes = {}
    for id, old, *new in zip(ids, held, *wanted.values(), strict=True):
        different = {
            name: value
            for name, blob, value in zip(names, old, new, strict=True)
            if blob != (None if value is None else wire.to_bytes(value))
        }
        if different:
            changes[id] = different
    return changes
