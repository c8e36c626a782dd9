"""Bulk writing, reading, deleting and walking of documents, pipelined on one connection.

A batch is on its way while the replies to the one before it are read, so that neither side waits
for the other; two batches at most are in memory. Redis goes on reading requests while replies are
unread, so this cannot lock up as long as one side of the exchange is small, and it always is:
writes have short replies, and reads short requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis

from fiftyone_redis.engine import keys, storage
from fiftyone_redis.engine.codec import Array
from fiftyone_redis.engine.connection import address, borrowed, execute
from fiftyone_redis.engine.errors import some, translated
from fiftyone_redis.engine.protocol import pack, raw, text
from fiftyone_redis.engine.schema import DTYPES, Schema

BATCH_BYTES = 1 << 21
"""How much of a bulk write or read is under way at a time, in bytes of vectors."""

_BATCH_ROWS = 4096
_WALK_COUNT = 10_000


def batches(count: int, schema: Schema) -> Iterator[slice]:
    """Cuts ``count`` documents into slices of about :data:`BATCH_BYTES` each."""
    rows = max(1, min(_BATCH_ROWS, BATCH_BYTES // (DTYPES[schema.dtype] * schema.dim)))
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def write(
    client: redis.Redis,
    schema: Schema,
    ids: Sequence[str],
    matrix: Array,
    tags: Mapping[str, Sequence[str]],
) -> Iterator[int]:
    """Writes documents, new or over old ones.

    Args:
        client: where to
        schema: the index
        ids: ``n`` ids
        matrix: ``n x dim`` floats that were checked
        tags: for each tag, ``n`` values

    Yields:
        how many documents were written since the last time

    Raises:
        ServerError: if the server refuses some of them, naming the first ones
    """
    of_ids = keys.for_writing(client, schema, ids)
    requests = (
        (
            storage.pack_writes(
                schema,
                of_ids(ids[rows]),
                ids[rows],
                matrix[rows],
                {t: v[rows] for t, v in tags.items()},
            ),
            ids[rows],
        )
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        refuse_errors(client, batch, replies)
        yield len(replies)


def read(
    client: redis.Redis, schema: Schema, ids: Sequence[str], fields: Sequence[str]
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
    of_ids = keys.for_reading(client, schema, ids)
    requests = (
        (storage.pack_reads(schema, of_ids(ids[rows]), fields), ids[rows])
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        refuse_errors(client, batch, replies)
        yield batch, storage.read_values(schema, fields, replies)


def existing(client: redis.Redis, schema: Schema, ids: Sequence[str]) -> set[str]:
    """Returns those of the ids that have a document with a vector."""
    return {
        id
        for batch, replies in _each(
            client, schema, ids, *storage.existence(schema, schema.vector_field)
        )
        for id, found in zip(batch, replies, strict=True)
        if storage.exists(found)
    }


def delete(client: redis.Redis, schema: Schema, ids: Sequence[str]) -> int:
    """Deletes documents and returns how many there were."""
    return sum(sum(replies) for _, replies in _each(client, schema, ids, "UNLINK"))


def unlink(client: redis.Redis, schema: Schema, keys: Sequence[str]) -> None:
    """Deletes documents of an index, which may be gone already, by their keys."""
    requests = (
        (b"".join(pack(("UNLINK", raw(key))) for key in keys[rows]), keys[rows])
        for rows in batches(len(keys), schema)
    )
    for batch, replies in exchange(client, requests):
        refuse_errors(client, batch, replies)


def clear(client: redis.Redis, schema: Schema, ids: Sequence[str], field: str) -> int:
    """Removes a field of documents and returns how many had it."""
    return sum(sum(replies) for _, replies in _each(client, schema, ids, "HDEL", field))


def walk(client: redis.Redis, schema: Schema, scanned: int | None = None) -> Iterator[list[str]]:
    """Yields the ids of all documents under the index's prefix, each once, in pages.

    Args:
        client: where from
        schema: the index
        scanned: how many keys the server looks at for a page; 10,000 by default
    """
    seen: set[str] = set()
    pattern = _glob(schema.prefix) + "*"
    cursor = 0
    while True:
        kind = storage.TYPE_NAMES[schema.storage]
        options = ("MATCH", pattern, "COUNT", scanned or _WALK_COUNT, "TYPE", kind)
        cursor, found = execute(client, "SCAN", cursor, *options)
        # SCAN may return a key twice while the server's table grows or shrinks.
        page = {text(key)[len(schema.prefix) :] for key in found} - seen
        seen |= page
        if page:
            yield sorted(page)
        if int(cursor) == 0:
            return


def exchange(
    client: redis.Redis, requests: Iterable[tuple[bytes, Sequence[Any]]]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends packed requests, each before the replies to the one before it are read.

    Args:
        client: where to
        requests: packed commands, and what each of them is about, one item per command

    Yields:
        those items, and the replies to them; the server's errors are among the replies
    """
    with borrowed(client) as connection:
        pending: Sequence[Any] | None = None
        for request, items in requests:
            connection.send_packed_command([request])
            if pending is not None:
                yield pending, _replies(connection, len(pending))
            pending = items
        if pending is not None:
            yield pending, _replies(connection, len(pending))


def _replies(connection: Any, count: int) -> list[Any]:
    replies: list[Any] = []
    read_response = connection.read_response
    while len(replies) < count:
        try:
            replies.append(read_response())
        except redis.ResponseError as error:
            replies.append(error)
    return replies


def refuse_errors(client: redis.Redis, ids: Sequence[str], replies: list[Any]) -> None:
    """Raises if there are errors of the server among replies, naming the documents."""
    errors = [
        (id, reply)
        for id, reply in zip(ids, replies, strict=True)
        if isinstance(reply, redis.RedisError)
    ]
    if errors:
        problem = translated(errors[0][1], address(client))
        named = some([repr(id) for id, _ in errors])
        raise type(problem)(f"{problem} It concerns {len(errors)} documents: {named}.")


def _each(
    client: redis.Redis, schema: Schema, ids: Sequence[str], command: str, *rest: str
) -> Iterator[tuple[Sequence[str], list[Any]]]:
    """Sends a command that takes a key, for each of the ids."""
    of_ids = keys.for_reading(client, schema, ids)
    requests = (
        (b"".join(pack((command, key, *rest)) for key in of_ids(ids[rows])), ids[rows])
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        refuse_errors(client, batch, replies)
        yield batch, replies


def _glob(text: str) -> str:
    """Returns a text as a glob pattern that matches just it."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
