"""Bulk writing, reading, deleting and walking of documents, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis

from fiftyone_redis.connection import cluster, routing
from fiftyone_redis.connection.client import address, execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.pipeline import accepted
from fiftyone_redis.connection.pool import borrowed
from fiftyone_redis.connection.retry import Attempts, drop_idle
from fiftyone_redis.connection.translate import mapped
from fiftyone_redis.connection.wire import keyed, raw, text
from fiftyone_redis.engine import document_formats, keys
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.document_formats import FieldValues
from fiftyone_redis.engine.options import DTYPES
from fiftyone_redis.engine.schema import Schema

BATCH_BYTES = 1 << 21
"""How much of a bulk write or read is under way at a time, in bytes of vectors."""

AttributeReader = Callable[[Sequence[str]], FieldValues]
"""Tells further fields of the documents with certain ids, when they are about to be written."""

_BATCH_ROWS = 4096
_WALK_COUNT = 10_000


def batches(count: int, schema: Schema) -> Iterator[slice]:
    """Cuts ``count`` documents into slices of about :data:`BATCH_BYTES` each."""
    rows = max(1, min(_BATCH_ROWS, BATCH_BYTES // (DTYPES[schema.dtype] * schema.dim)))
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def write(
    client: Client,
    schema: Schema,
    ids: Sequence[str],
    matrix: Array,
    tags: FieldValues,
    attributes: AttributeReader | None = None,
) -> Iterator[int]:
    """Writes documents, new or over old ones.

    Args:
        client: where to
        schema: the index
        ids: ``n`` ids
        matrix: ``n x dim`` floats that were checked
        tags: for each tag, ``n`` values
        attributes: tells further fields, a batch of documents at a time

    Yields:
        how many documents were written since the last time

    Raises:
        ServerError: if the server refuses some of them, naming the first ones
    """
    to_keys = keys.look_up_for_writes(client, schema, ids)

    def columns(rows: slice) -> FieldValues:
        further = attributes(ids[rows]) if attributes is not None else {}
        return {**{tag: values[rows] for tag, values in tags.items()}, **further}

    requests = (
        document_formats.pack_writes(
            schema, to_keys(ids[rows]), ids[rows], matrix[rows], columns(rows)
        )
        for rows in batches(len(ids), schema)
    )
    for _, replies in accepted(client, requests):
        yield len(replies)


def read(
    client: Client, schema: Schema, ids: Sequence[str], fields: Sequence[str]
) -> Iterator[tuple[Sequence[str], list[list[bytes | None]]]]:
    """Reads fields of documents.

    Args:
        client: where from
        schema: the index
        ids: the documents' ids
        fields: which fields

    Yields:
        some of the ids, in order, and for each of them the values of its fields, None where there
        is none

    Raises:
        ServerError: if the server refuses some of them, naming the first ones
    """
    to_keys = keys.look_up_for_reads(client, schema, ids)
    if len(ids) == 1:
        reply = execute(client, *document_formats.read_command(schema, to_keys(ids)[0], fields))
        yield ids, document_formats.read_values(schema, fields, [reply])
        return
    requests = (
        document_formats.pack_reads(schema, to_keys(ids[rows]), ids[rows], fields)
        for rows in batches(len(ids), schema)
    )
    for batch, replies in accepted(client, requests):
        yield batch, document_formats.read_values(schema, fields, replies)


def find_existing(client: Client, schema: Schema, ids: Sequence[str]) -> set[str]:
    """Returns those of the ids that have a document with a vector."""
    return {
        id
        for batch, replies in _send_per_id(
            client, schema, ids, *document_formats.existence_command(schema, schema.vector_field)
        )
        for id, found in zip(batch, replies, strict=True)
        if document_formats.read_existence(found)
    }


def delete(client: Client, schema: Schema, ids: Sequence[str]) -> int:
    """Deletes documents and returns how many there were.

    After a connection was lost these can be fewer: what was deleted without a reply is gone when
    it is tried again.
    """
    return sum(sum(replies) for _, replies in _send_per_id(client, schema, ids, "UNLINK"))


def delete_keys(client: Client, schema: Schema, keys: Sequence[str]) -> None:
    """Deletes documents of an index, which may be gone already, by their keys."""
    requests = (
        keyed((("UNLINK", raw(key)) for key in keys[rows]), keys[rows])
        for rows in batches(len(keys), schema)
    )
    for _ in accepted(client, requests):
        pass


def remove_field(client: Client, schema: Schema, ids: Sequence[str], field: str) -> int:
    """Removes a field of documents and returns how many had it."""
    command = "HDEL" if schema.storage == "HASH" else "JSON.DEL"
    return sum(sum(r) for _, r in _send_per_id(client, schema, ids, command, schema.path(field)))


def update_fields(
    client: Client, schema: Schema, changes: Mapping[str, Mapping[str, str | None]]
) -> None:
    """Writes and removes fields of a few thousand documents at most.

    Args:
        client: where to
        schema: the index
        changes: for each id the fields to change and their values; None to remove one

    Raises:
        ServerError: if the server refuses some of them, naming the first ones
    """
    ids = list(changes)
    found = keys.look_up_for_reads(client, schema, ids)(ids)
    commands = [
        (id, command)
        for key, id in zip(found, ids, strict=True)
        for command in document_formats.update_commands(schema, key, changes[id])
    ]
    request = keyed((command for _, command in commands), [id for id, _ in commands])
    for _ in accepted(client, [request]):
        pass


def walk_ids(client: Client, schema: Schema) -> Iterator[list[str]]:
    """Yields the ids of all documents under the index's prefix, each once, in pages."""
    seen: set[str] = set()
    kind = document_formats.TYPE_NAMES[schema.storage]
    pattern = _glob(schema.prefix) + "*"
    for found in routing.scan(client, lambda node: _scan(node, pattern, _WALK_COUNT, kind)):
        # SCAN may return a key twice while the server's table grows or shrinks.
        page = {text(key)[len(schema.prefix) :] for key in found} - seen
        seen |= page
        if page:
            yield sorted(page)


def draw_ids(client: Client, schema: Schema, scanned: int) -> list[str]:
    """Returns the ids of a few documents, in the order of a server's table of keys: by chance.

    Args:
        client: where from
        schema: the index
        scanned: how many keys the server looks at for them, and for as many again if it finds none
    """
    pattern, kind = _glob(schema.prefix) + "*", document_formats.TYPE_NAMES[schema.storage]
    nodes = cluster.primaries(client)
    pages = (found for node in nodes for found in _scan(node, pattern, scanned, kind))
    first = next((found for found in pages if found), [])
    return list(dict.fromkeys(text(key)[len(schema.prefix) :] for key in first))


def _scan(client: redis.Redis, pattern: str, count: int, kind: str) -> Iterator[list[bytes]]:
    """Yields the keys of documents, some of them twice.

    A cursor means nothing to a server that was started again, or to one that took over, so all
    pages come over one connection, and after another one was made it begins anew.
    """
    attempts = Attempts(client)
    with mapped(address(client)):
        while True:
            try:
                with borrowed(client) as connection:
                    for found in _scan_over(connection, pattern, count, kind):
                        try:
                            yield found
                        except GeneratorExit:
                            return  # no reply is on its way, so the connection can be kept
                return
            except redis.RedisError as error:
                attempts.failed(error)
                drop_idle(client)


def _scan_over(connection: Any, pattern: str, count: int, kind: str) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        connection.send_command("SCAN", cursor, "MATCH", pattern, "COUNT", count, "TYPE", kind)
        reply = connection.read_response()
        cursor = int(reply[0])
        yield reply[1]
        if cursor == 0:
            return


def _send_per_id(
    client: Client, schema: Schema, ids: Sequence[str], command: str, *rest: str
) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """Sends a command that takes a key, for each of the ids."""
    to_keys = keys.look_up_for_reads(client, schema, ids)
    requests = (
        keyed(((command, key, *rest) for key in to_keys(ids[rows])), ids[rows])
        for rows in batches(len(ids), schema)
    )
    yield from accepted(client, requests)


def _glob(text: str) -> str:
    """Returns a text as a glob pattern that matches just it."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
