"""Reads ids, vectors and tags of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol import commands, index_info
from fiftyone_redis.engine.protocol.indexing import wait_until_indexed
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import InputError, name_missing

Progress = Callable[[int], None]

_TAG_VALUES = 500
_SAMPLE = 256
_SAMPLE_SCANNED = 1024


@dataclass(frozen=True)
class Vectors:
    """The ids, vectors and tags of some documents.

    Args:
        ids: ``n`` ids
        vectors: an ``n x dim`` array of float32, or of float64 where the index holds that
        tags: ``n`` values of each tag of the index
    """

    ids: list[str]
    vectors: Array
    tags: dict[str, list[str]] = field(default_factory=dict)


def find_ids_with_tag(
    documents: Documents, tag: str, values: Sequence[str], *, timeout_ms: int
) -> list[str]:
    """Returns the ids of the documents whose tag has one of some values."""
    found: dict[str, str] = {}
    for start in range(0, len(values), _TAG_VALUES):
        batch = values[start : start + _TAG_VALUES]
        command = commands.keys_with_tag(documents.schema, tag, batch, timeout_ms=timeout_ms)
        for page in documents.keys.read_pages(command):
            found |= page
    return list(found.values())


def read_encoded(documents: Documents, ids: Sequence[str]) -> list[bytes]:
    """Reads encoded vectors.

    Raises:
        InputError: if some ids have no vector, or one of the wrong length
    """
    found, schema = [], documents.schema
    for _, rows in documents.read(ids, [schema.vector_field]):
        found += [row[0] for row in rows]
    there = [blob for blob in found if blob is not None]
    if len(there) < len(found):
        missing = [id for id, blob in zip(ids, found, strict=True) if blob is None]
        raise InputError(f"Found {name_missing(missing)}; add them, or call index.sync().")
    encoding.check_lengths(there, schema.dtype, schema.dim, ids)
    return there


def count_documents(documents: Documents) -> int:
    """Returns the number of documents that the index has."""
    return index_info.read_indexing(
        wait_until_indexed(documents.client, documents.schema.name)
    ).documents


def sample_documents(documents: Documents) -> list[Hit]:
    """Returns a few documents with their tags, the first ones in the server's hash table."""
    schema, drawn = documents.schema, documents.draw_keys(_SAMPLE_SCANNED)[:_SAMPLE]
    fields = [*schema.tags, *([schema.id_field] if schema.id_field else [])]
    if not fields:
        return [Hit(key, 0.0, {}, schema.id_of(key)) for key in drawn]
    # Here the whole key stands for the id, whatever the document's id is.
    by_key = replace(schema, id_field=None, prefix="", prefixes=("",), key_prefixes=("",))
    hits = []
    for batch, rows in Documents(documents.client, by_key).read(drawn, fields):
        for key, row in zip(batch, rows, strict=True):
            values = {f: wire.to_text(v or b"") for f, v in zip(fields, row, strict=True)}
            id = values[schema.id_field] if schema.id_field else schema.id_of(key)
            hits.append(Hit(key, 0.0, values, id))
    return hits


def list_ids(documents: Documents) -> list[str]:
    """Returns the ids of all documents that have a vector, sorted."""
    ids = documents.list_ids()
    if documents.schema.vectors_only and len(ids) == count_documents(documents):
        return ids
    return sorted(documents.find_existing(ids))


def read_field(documents: Documents, ids: Sequence[str], field: str) -> list[str | None]:
    """Returns the values of a field of documents; None where there is none."""
    return [
        None if value is None else wire.to_text(value)
        for _, rows in documents.read(ids, [field])
        for [value] in rows
    ]


def read_tags(documents: Documents, ids: Sequence[str]) -> dict[str, list[str]]:
    """Returns the tags of documents, in the order of ``ids``; missing tags are empty."""
    tags = documents.schema.tags
    found: dict[str, list[str]] = {tag: [] for tag in tags}
    for _, rows in documents.read(ids, tags):
        for values, column in zip(found.values(), zip(*rows, strict=True), strict=True):
            values += [wire.to_text(value or b"") for value in column]
    return found


def read_pages(
    documents: Documents, wanted: Sequence[str] | None, progress: Progress | None = None
) -> Iterator[Vectors]:
    """Reads documents in pages; see :meth:`VectorIndex.vectors`."""
    schema = documents.schema
    fields = [schema.vector_field, *schema.tags]
    everything = documents.list_ids() if wanted is None else wanted
    for batch, rows in documents.read(everything, fields):
        kept = [(id, row) for id, row in zip(batch, rows, strict=True) if row[0] is not None]
        blobs = [row[0] or b"" for _, row in kept]
        columns = {
            tag: [wire.to_text(row[column] or b"") for _, row in kept]
            for column, tag in enumerate(schema.tags, start=1)
        }
        kept_ids = [id for id, _ in kept]
        vectors = encoding.decode(blobs, schema.dtype, schema.dim, kept_ids)
        yield Vectors(kept_ids, vectors, columns)
        if progress is not None:
            progress(len(batch))


def fetch(
    documents: Documents, wanted: Sequence[str] | None, progress: Progress | None = None
) -> Vectors:
    """Reads documents at once; see :meth:`VectorIndex.fetch`."""
    schema = documents.schema
    everything = documents.list_ids() if wanted is None else wanted
    dtype = np.float64 if schema.dtype == "float64" else np.float32
    found = Vectors(
        [], np.empty((len(everything), schema.dim), dtype), {t: [] for t in schema.tags}
    )
    for page in read_pages(documents, everything, progress):
        found.vectors[len(found.ids) : len(found.ids) + len(page.ids)] = page.vectors
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    return Vectors(found.ids, found.vectors[: len(found.ids)], found.tags)
