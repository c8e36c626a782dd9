"""Writes, reads, deletes and walks documents, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import redis

from fiftyone_redis.connection import cluster, routing
from fiftyone_redis.connection.client import execute, get_address
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.connection.pipeline import exchange_or_raise
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.retry import Attempts, close_idle_connections
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.wire import add_counts, pack_keyed, read_scan, to_text
from fiftyone_redis.engine import document_formats, keys
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.document_formats import FieldValues
from fiftyone_redis.engine.options import DTYPES
from fiftyone_redis.engine.schema import Schema

BATCH_BYTES = 1 << 21
"""The size of a batch, in bytes of vectors."""

AttributeReader = Callable[[Sequence[str]], FieldValues]
"""Returns the attributes of a batch of documents, given their ids."""

_BATCH_ROWS = 4096
_WALK_COUNT = 10_000


def batches(count: int, schema: Schema) -> Iterator[slice]:
    """Yields slices of ``count`` documents, of about :data:`BATCH_BYTES` each."""
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
    """Writes documents, and overwrites existing ones.

    Args:
        client: a client of the server
        schema: the index
        ids: ``n`` ids
        matrix: ``n x dim`` checked floats
        tags: ``n`` values of each tag
        attributes: returns the attributes of a batch of documents; None for no attributes

    Yields:
        the number of documents written since the last time

    Raises:
        ServerError: if the server refuses some of them; names the first few
    """
    to_keys = keys.look_up_for_writes(client, schema, ids)

    def columns(rows: slice) -> FieldValues:
        more = attributes(ids[rows]) if attributes is not None else {}
        return {**{tag: values[rows] for tag, values in tags.items()}, **more}

    requests = (
        document_formats.pack_writes(
            schema, to_keys(ids[rows]), ids[rows], matrix[rows], columns(rows)
        )
        for rows in batches(len(ids), schema)
    )
    for _, replies in exchange_or_raise(client, requests):
        yield len(replies)


def read(
    client: Client, schema: Schema, ids: Sequence[str], fields: Sequence[str]
) -> Iterator[tuple[Sequence[str], list[list[bytes | None]]]]:
    """Reads fields of documents.

    Args:
        client: a client of the server
        schema: the index
        ids: the documents' ids
        fields: the names of the fields

    Yields:
        batches of ids, in order, with the field values of each document; None for a missing value

    Raises:
        ServerError: if the server refuses some of them; names the first few
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
    for batch, replies in exchange_or_raise(client, requests):
        yield batch, document_formats.read_values(schema, fields, replies)


def find_existing(client: Client, schema: Schema, ids: Sequence[str]) -> set[str]:
    """Returns the ids whose documents have a vector."""
    return {
        id
        for batch, replies in _send_per_id(
            client, schema, ids, *document_formats.existence_command(schema, schema.vector_field)
        )
        for id, found in zip(batch, replies, strict=True)
        if document_formats.read_existence(found)
    }


def delete(client: Client, schema: Schema, ids: Sequence[str]) -> int:
    """Deletes documents and returns how many were deleted.

    The number may be too low after a lost connection: a retry does not count documents whose
    deletion succeeded without a reply.
    """
    return sum(add_counts(each) for _, each in _send_per_id(client, schema, ids, "UNLINK"))


def remove_field(client: Client, schema: Schema, ids: Sequence[str], field: str) -> int:
    """Removes a field from documents and returns how many had it."""
    command = "HDEL" if schema.storage == "HASH" else "JSON.DEL"
    sent = _send_per_id(client, schema, ids, command, schema.path(field))
    return sum(add_counts(replies) for _, replies in sent)


def update_fields(
    client: Client, schema: Schema, changes: Mapping[str, Mapping[str, str | None]]
) -> None:
    """Writes and removes fields of documents in one batch, so of a few thousand at most.

    Args:
        client: a client of the server
        schema: the index
        changes: the new field values of each id; None removes a field

    Raises:
        ServerError: if the server refuses some of them; names the first few
    """
    ids = list(changes)
    found = keys.look_up_for_reads(client, schema, ids)(ids)
    commands = [
        (id, command)
        for key, id in zip(found, ids, strict=True)
        for command in document_formats.update_commands(schema, key, changes[id])
    ]
    request = pack_keyed((command for _, command in commands), [id for id, _ in commands])
    for _ in exchange_or_raise(client, [request]):
        pass


def walk_ids(client: Client, schema: Schema) -> Iterator[list[str]]:
    """Yields pages of the ids of all documents under the index's prefix, each once."""
    seen: set[str] = set()
    kind = document_formats.TYPE_NAMES[schema.storage]
    pattern = _glob(schema.prefix) + "*"
    for found in routing.scan(client, lambda node: _scan(node, pattern, _WALK_COUNT, kind)):
        # SCAN may return a key twice while the server resizes its hash table.
        page = {to_text(key)[len(schema.prefix) :] for key in found} - seen
        seen |= page
        if page:
            yield sorted(page)


def draw_ids(client: Client, schema: Schema, scanned: int) -> list[str]:
    """Returns the ids of a few documents, in the random order of the server's hash table.

    Args:
        client: a client of the server
        schema: the index
        scanned: the number of keys that the server scans per page; pages without a match are
            skipped
    """
    pattern, kind = _glob(schema.prefix) + "*", document_formats.TYPE_NAMES[schema.storage]
    nodes = cluster.list_primaries(client)
    pages = (found for node in nodes for found in _scan(node, pattern, scanned, kind))
    first = next((found for found in pages if found), [])
    return list(dict.fromkeys(to_text(key)[len(schema.prefix) :] for key in first))


def _scan(client: redis.Redis, pattern: str, count: int, kind: str) -> Iterator[list[bytes]]:
    """Yields pages of keys; a key may occur twice.

    A cursor is invalid after a restart or a failover. So all pages are read over one connection,
    and the scan starts over on a new one.
    """
    attempts = Attempts(client)
    with translate_errors(get_address(client)):
        while True:
            try:
                with borrow_connection(client) as connection:
                    for found in _scan_over(connection, pattern, count, kind):
                        try:
                            yield found
                        except GeneratorExit:
                            return  # no reply is pending, so the connection can be reused
                return
            except redis.RedisError as error:
                attempts.wait_or_raise(error)
                close_idle_connections(client)


def _scan_over(connection: Any, pattern: str, count: int, kind: str) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        connection.send_command("SCAN", cursor, "MATCH", pattern, "COUNT", count, "TYPE", kind)
        with parsing("SCAN"):
            cursor, found = read_scan(connection.read_response())
        yield found
        if cursor == 0:
            return


def _send_per_id(
    client: Client, schema: Schema, ids: Sequence[str], command: str, *rest: str
) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """Sends a command with the key of each id; yields batches of ids and replies."""
    to_keys = keys.look_up_for_reads(client, schema, ids)
    requests = (
        pack_keyed(((command, key, *rest) for key in to_keys(ids[rows])), ids[rows])
        for rows in batches(len(ids), schema)
    )
    yield from exchange_or_raise(client, requests)


def _glob(text: str) -> str:
    """Escapes a text for use in a glob pattern."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
