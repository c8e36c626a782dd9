"""Reads ids, vectors and tags of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import codec, commands, documents, keys, replies
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.indexing import wait_until_indexed
from fiftyone_redis.engine.replies import Hit
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import InputError, list_first

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


def list_ids(client: Client, schema: Schema) -> list[str]:
    """Returns the sorted ids of all documents, including those without a vector."""
    return sorted(id for page in _walk_ids(client, schema) for id in page)


def find_ids_with_tag(
    client: Client, schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int
) -> list[str]:
    """Returns the ids of the documents whose tag has one of some values."""
    found: dict[str, str] = {}
    for start in range(0, len(values), _TAG_VALUES):
        batch = values[start : start + _TAG_VALUES]
        command = commands.keys_with_tag(schema, tag, batch, timeout_ms=timeout_ms)
        for page in keys.read_id_pages(client, schema, command):
            found |= page
    return list(found.values())


def read_encoded(client: Client, schema: Schema, ids: Sequence[str]) -> list[bytes]:
    """Reads encoded vectors.

    Raises:
        InputError: if some ids have no vector, or one of the wrong length
    """
    found = []
    for _, rows in documents.read(client, schema, ids, [schema.vector_field]):
        found += [row[0] for row in rows]
    there = [blob for blob in found if blob is not None]
    if len(there) < len(found):
        missing = [repr(id) for id, blob in zip(ids, found, strict=True) if blob is None]
        raise InputError(
            f"Found {len(missing)} IDs that are not in the index ({list_first(missing)})."
        )
    codec.check_lengths(there, schema.dtype, schema.dim, ids)
    return there


def count_documents(client: Client, schema: Schema) -> int:
    """Returns the number of documents, including HASHes without a vector."""
    return replies.read_indexing(wait_until_indexed(client, schema.name)).documents


def sample_documents(client: Client, schema: Schema) -> list[Hit]:
    """Returns a few documents with their tags, the first ones in the server's hash table."""
    prefix = schema.prefixes[0]
    # Here the rest of a key stands for the id, whatever the document's id is.
    by_key = replace(
        schema, id_field=None, prefix=prefix, prefixes=(prefix,), key_prefixes=(prefix,)
    )
    rests = documents.draw_ids(client, by_key, _SAMPLE_SCANNED)[:_SAMPLE]
    fields = [*schema.tags, *([schema.id_field] if schema.id_field else [])]
    if not fields:
        return [Hit(prefix + rest, 0.0, {}, schema.id_of(prefix + rest)) for rest in rests]
    drawn = []
    for batch, rows in documents.read(client, by_key, rests, fields):
        for rest, row in zip(batch, rows, strict=True):
            values = {f: wire.to_text(v or b"") for f, v in zip(fields, row, strict=True)}
            id = values[schema.id_field] if schema.id_field else schema.id_of(prefix + rest)
            drawn.append(Hit(prefix + rest, 0.0, values, id))
    return drawn


def _walk_ids(client: Client, schema: Schema) -> Iterator[list[str]]:
    if schema.owns_prefix:
        return documents.walk_ids(client, schema)
    return keys.walk_ids(client, schema)


def read_tags(client: Client, schema: Schema, ids: Sequence[str]) -> dict[str, list[str]]:
    """Returns the tags of documents, in the order of ``ids``; missing tags are empty."""
    found: dict[str, list[str]] = {tag: [] for tag in schema.tags}
    for _, rows in documents.read(client, schema, ids, schema.tags):
        for values, column in zip(found.values(), zip(*rows, strict=True), strict=True):
            values += [wire.to_text(value or b"") for value in column]
    return found


def read_pages(
    client: Client,
    schema: Schema,
    wanted: Sequence[str] | None,
    progress: Progress | None = None,
) -> Iterator[Vectors]:
    """Reads documents in pages; see :meth:`VectorIndex.vectors`."""
    fields = [schema.vector_field, *schema.tags]
    everything = list_ids(client, schema) if wanted is None else wanted
    for batch, rows in documents.read(client, schema, everything, fields):
        kept = [(id, row) for id, row in zip(batch, rows, strict=True) if row[0] is not None]
        blobs = [row[0] or b"" for _, row in kept]
        columns = {
            tag: [wire.to_text(row[column] or b"") for _, row in kept]
            for column, tag in enumerate(schema.tags, start=1)
        }
        kept_ids = [id for id, _ in kept]
        vectors = codec.decode(blobs, schema.dtype, schema.dim, kept_ids)
        yield Vectors(kept_ids, vectors, columns)
        if progress is not None:
            progress(len(batch))


def fetch(
    client: Client,
    schema: Schema,
    wanted: Sequence[str] | None,
    progress: Progress | None = None,
) -> Vectors:
    """Reads documents at once; see :meth:`VectorIndex.fetch`."""
    everything = list_ids(client, schema) if wanted is None else wanted
    dtype = np.float64 if schema.dtype == "float64" else np.float32
    found = Vectors(
        [], np.empty((len(everything), schema.dim), dtype), {t: [] for t in schema.tags}
    )
    for page in read_pages(client, schema, everything, progress):
        found.vectors[len(found.ids) : len(found.ids) + len(page.ids)] = page.vectors
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    return Vectors(found.ids, found.vectors[: len(found.ids)], found.tags)
