"""Reads ids, vectors and tags of an index's documents, in pages or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import redis

from fiftyone_redis.engine import codec, documents, protocol
from fiftyone_redis.engine.capabilities import capabilities
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.connection import execute, repeated
from fiftyone_redis.engine.errors import IncompleteResultError, InputError, some
from fiftyone_redis.engine.protocol import Hit
from fiftyone_redis.engine.schema import Schema

Progress = Callable[[int], None]

_TAG_VALUES = 500
_SAMPLE = 64
_SAMPLE_SCANNED = 256


@dataclass(frozen=True)
class Vectors:
    """Documents that were read.

    Args:
        ids: ``n`` ids
        vectors: an ``n x dim`` array of float32, or of float64 where the index holds that
        tags: for each tag of the index, ``n`` values
    """

    ids: list[str]
    vectors: Array
    tags: dict[str, list[str]] = field(default_factory=dict)


def ids(client: Client, schema: Schema) -> list[str]:
    """Returns the ids of all documents, sorted; HASHes without a vector are among them."""
    return sorted(id for page in documents.walk(client, schema) for id in page)


def ids_with_tag(
    client: Client, schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int
) -> list[str]:
    """Returns the ids of the documents whose tag has one of the values."""
    if not capabilities(client).redisearch:
        return _compared_with_tag(client, schema, tag, values)
    found: list[str] = []
    for start in range(0, len(values), _TAG_VALUES):
        batch = values[start : start + _TAG_VALUES]
        command = protocol.keys_with_tag(schema, tag, batch, timeout_ms=timeout_ms)
        found += repeated(client, partial(_all_keys, schema, command))
    return [key[len(schema.prefix) :] for key in found]


def _compared_with_tag(
    client: Client, schema: Schema, tag: str, values: Sequence[str]
) -> list[str]:
    """Finds them by reading all documents' tags, where the server cannot list them."""
    wanted = {protocol.raw(value) for value in values}
    pages = documents.walk(client, schema)
    return [
        id
        for page in pages
        for batch, rows in documents.read(client, schema, page, [tag])
        for id, [value] in zip(batch, rows, strict=True)
        if value in wanted
    ]


def blobs(client: Client, schema: Schema, ids: Sequence[str]) -> list[bytes]:
    """Reads vectors as the server holds them.

    Raises:
        InputError: if some of the ids have none
    """
    found = [
        row[0]
        for _, rows in documents.read(client, schema, ids, [schema.vector_field])
        for row in rows
    ]
    missing = [repr(id) for id, blob in zip(ids, found, strict=True) if blob is None]
    if missing:
        raise InputError(f"Found {len(missing)} IDs that are not in the index ({some(missing)}).")
    return [blob for blob in found if blob is not None]


def sample(client: Client, schema: Schema) -> list[Hit]:
    """Draws a few documents, with their tags: what comes first in a server's table of keys."""
    first = documents.draw(client, schema, _SAMPLE_SCANNED)[:_SAMPLE]
    values = tags(client, schema, first) if schema.tags else {}
    return [
        Hit(schema.prefix + id, 0.0, {tag: column[row] for tag, column in values.items()})
        for row, id in enumerate(first)
    ]


def tags(client: Client, schema: Schema, ids: Sequence[str]) -> dict[str, list[str]]:
    """Returns the tags of documents, in the order of ``ids``; empty text where one is missing."""
    found: dict[str, list[str]] = {tag: [] for tag in schema.tags}
    for _, rows in documents.read(client, schema, ids, schema.tags):
        for values, column in zip(found.values(), zip(*rows, strict=True), strict=True):
            values += [protocol.text(value or b"") for value in column]
    return found


def pages(
    client: Client,
    schema: Schema,
    wanted: Sequence[str] | None,
    progress: Progress | None = None,
) -> Iterator[Vectors]:
    """Reads documents in pages; see :meth:`VectorIndex.vectors`."""
    fields = [schema.vector_field, *schema.tags]
    everything = ids(client, schema) if wanted is None else wanted
    for batch, rows in documents.read(client, schema, everything, fields):
        kept = [(id, row) for id, row in zip(batch, rows, strict=True) if row[0] is not None]
        blobs = [row[0] or b"" for _, row in kept]
        columns = {
            tag: [protocol.text(row[column] or b"") for _, row in kept]
            for column, tag in enumerate(schema.tags, start=1)
        }
        vectors = codec.decode(blobs, schema.dtype, schema.dim)
        yield Vectors([id for id, _ in kept], vectors, columns)
        if progress is not None:
            progress(len(batch))


def fetch(
    client: Client,
    schema: Schema,
    wanted: Sequence[str] | None,
    progress: Progress | None = None,
) -> Vectors:
    """Reads documents at once; see :meth:`VectorIndex.fetch`."""
    everything = ids(client, schema) if wanted is None else wanted
    dtype = np.float64 if schema.dtype == "float64" else np.float32
    found = Vectors(
        [], np.empty((len(everything), schema.dim), dtype), {t: [] for t in schema.tags}
    )
    for page in pages(client, schema, everything, progress):
        found.vectors[len(found.ids) : len(found.ids) + len(page.ids)] = page.vectors
        found.ids.extend(page.ids)
        for tag, values in page.tags.items():
            found.tags[tag].extend(values)
    return Vectors(found.ids, found.vectors[: len(found.ids)], found.tags)


def _all_keys(
    schema: Schema, command: protocol.Command, node: redis.Redis, lost: bool
) -> list[str]:
    """Reads all pages, at one node: no other knows the cursor.

    A page is not asked for again: the cursor may have moved on.
    """
    del lost
    found, cursor = _page_of_keys(node, schema, command)
    while cursor:
        keys, cursor = _page_of_keys(node, schema, protocol.next_page(schema.name, cursor))
        found += keys
    return found


def _page_of_keys(
    node: redis.Redis, schema: Schema, command: protocol.Command
) -> tuple[list[str], int]:
    reply = node.execute_command(*command)
    try:
        return protocol.read_keys(reply)
    except IncompleteResultError:
        if reply[1]:
            execute(node, *protocol.close_cursor(schema.name, reply[1]))
        raise
