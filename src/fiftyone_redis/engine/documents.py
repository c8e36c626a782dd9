"""Bulk writing, reading, deleting and walking of documents, pipelined on one connection.

A batch is on its way while the replies to the one before it are read, so that neither side waits
for the other; two batches at most are in memory. Redis goes on reading requests while replies are
unread, so this cannot lock up as long as one side of the exchange is small, and it always is:
writes have short replies, and reads short requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from fiftyone_redis.engine import cluster, routing
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.codec import Array, encode
from fiftyone_redis.engine.connection import address, borrowed, execute
from fiftyone_redis.engine.errors import mapped, some, translated
from fiftyone_redis.engine.protocol import pack, raw, text
from fiftyone_redis.engine.retry import Attempts, drop_idle, passes, rules
from fiftyone_redis.engine.schema import DTYPES, Schema

BATCH_BYTES = 1 << 21
"""How much of a bulk write or read is under way at a time, in bytes of vectors."""

Columns = Mapping[str, Sequence[str | None]]
"""For each of some fields, the values of several documents; None where there is none."""

Reader = Callable[[Sequence[str]], Columns]
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
    tags: Columns,
    attributes: Reader | None = None,
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

    def columns(rows: slice) -> Columns:
        further = attributes(ids[rows]) if attributes is not None else {}
        return {**{tag: values[rows] for tag, values in tags.items()}, **further}

    requests = (
        (_hset(schema, ids[rows], matrix[rows], columns(rows)), ids[rows])
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        _refuse_errors(client, batch, replies)
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
    if len(ids) == 1:
        yield ids, [execute(client, "HMGET", *_keys(schema, ids), *fields)]
        return
    names = "".join(f"${len(name.encode())}\r\n{name}\r\n" for name in fields).encode()
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(fields))
    requests = (
        (
            b"".join(
                b"%b$%d\r\n%b\r\n%b" % (head, len(key), key, names)
                for key in _keys(schema, ids[rows])
            ),
            ids[rows],
        )
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        _refuse_errors(client, batch, replies)
        yield batch, replies


def existing(client: Client, schema: Schema, ids: Sequence[str]) -> set[str]:
    """Returns those of the ids that have a document with a vector."""
    return {
        id
        for batch, replies in _each(client, schema, "HEXISTS", ids, schema.vector_field)
        for id, found in zip(batch, replies, strict=True)
        if found
    }


def delete(client: Client, schema: Schema, ids: Sequence[str]) -> int:
    """Deletes documents and returns how many there were."""
    return sum(sum(replies) for _, replies in _each(client, schema, "UNLINK", ids))


def clear(client: Client, schema: Schema, ids: Sequence[str], field: str) -> int:
    """Removes a field of documents and returns how many had it."""
    return sum(sum(replies) for _, replies in _each(client, schema, "HDEL", ids, field))


def change(client: Client, schema: Schema, changes: Mapping[str, Mapping[str, str | None]]) -> None:
    """Writes and removes fields of a few thousand documents at most.

    Args:
        client: where to
        schema: the index
        changes: for each id the fields to change and their values; None to remove one

    Raises:
        ServerError: if the server refuses some of them, naming the first ones
    """
    commands: list[tuple[str, list[str]]] = []
    for id, values in changes.items():
        key = schema.prefix + id
        there = [(name, value) for name, value in values.items() if value is not None]
        gone = [name for name, value in values.items() if value is None]
        if there:
            commands.append((id, ["HSET", key, *(part for pair in there for part in pair)]))
        if gone:
            commands.append((id, ["HDEL", key, *gone]))
    request = b"".join(pack(command) for _, command in commands)
    for batch, replies in exchange(client, [(request, [id for id, _ in commands])]):
        _refuse_errors(client, batch, replies)


def walk(client: Client, schema: Schema, scanned: int | None = None) -> Iterator[list[str]]:
    """Yields the ids of all HASHes under the index's prefix, each once, in pages.

    Args:
        client: where from
        schema: the index
        scanned: how many keys a server looks at for a page; 10,000 by default
    """
    seen: set[str] = set()
    pattern, count = _glob(schema.prefix) + "*", scanned or _WALK_COUNT
    for keys in routing.scan(client, lambda node: _scan(node, pattern, count)):
        # SCAN may return a key twice while the server's table grows or shrinks.
        page = {text(key)[len(schema.prefix) :] for key in keys} - seen
        seen |= page
        if page:
            yield sorted(page)


def draw(client: Client, schema: Schema, scanned: int) -> list[str]:
    """Returns the ids of a few documents: those that come first in a server's table of keys.

    Args:
        client: where from
        schema: the index
        scanned: how many keys the server looks at for them, and for as many again if it finds none
    """
    pattern = _glob(schema.prefix) + "*"
    nodes = cluster.primaries(client)
    pages = (keys for node in nodes for keys in _scan(node, pattern, scanned))
    first = next((keys for keys in pages if keys), [])
    return sorted({text(key)[len(schema.prefix) :] for key in first})


def _scan(client: redis.Redis, pattern: str, count: int) -> Iterator[list[bytes]]:
    """Yields the keys of HASHes, some of them twice.

    A cursor means nothing to a server that was started again, or to one that took over, so all
    pages come over one connection, and after another one was made it begins anew.
    """
    attempts = Attempts(rules(client))
    with mapped(address(client)):
        while True:
            try:
                with borrowed(client) as connection:
                    for keys in _scan_over(connection, pattern, count):
                        try:
                            yield keys
                        except GeneratorExit:
                            return  # no reply is on its way, so the connection can be kept
                return
            except redis.RedisError as error:
                attempts.failed(error)
                drop_idle(client)


def _scan_over(connection: Any, pattern: str, count: int) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        connection.send_command("SCAN", cursor, "MATCH", pattern, "COUNT", count, "TYPE", "hash")
        reply = connection.read_response()
        cursor = int(reply[0])
        yield reply[1]
        if cursor == 0:
            return


def exchange(
    client: Client, requests: Iterable[tuple[bytes, Sequence[Any]]]
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Sends packed requests, each before the replies to the one before it are read.

    In a cluster each command goes to the node of its key, or to any if it has none; ``routing.py``
    does that. Those that were not answered are sent again where that may help, so that commands may
    be carried out twice.

    Args:
        client: where to
        requests: packed commands, and what each of them is about, one item per command

    Yields:
        those items, and the replies to them; the server's errors are among the replies
    """
    if isinstance(client, redis.RedisCluster):
        yield from routing.exchange(client, requests)
        return
    upcoming = iter(requests)
    unanswered: deque[_Request] = deque()
    attempts = Attempts(rules(client))
    with mapped(address(client)):
        while True:
            try:
                with borrowed(client) as connection:
                    for request in unanswered:
                        connection.send_packed_command([request.packed])
                    for request in _answered(connection, unanswered, upcoming):
                        yield request.items, request.replies
                        attempts.start()
                return
            except redis.RedisError as error:
                attempts.failed(error)
                drop_idle(client)


@dataclass
class _Request:
    """Packed commands, what they are about, and the replies to them."""

    packed: bytes
    items: Sequence[Any]
    replies: list[Any] = field(default_factory=list)


def _answered(
    connection: Any, unanswered: deque[_Request], upcoming: Iterator[tuple[bytes, Sequence[Any]]]
) -> Iterator[_Request]:
    """Yields requests with their replies; sends one ahead of that whose replies are read."""
    while True:
        while len(unanswered) < 2 and (following := next(upcoming, None)) is not None:
            unanswered.append(_Request(*following))
            connection.send_packed_command([following[0]])
        if not unanswered:
            return
        _read_replies(connection, unanswered[0])
        yield unanswered.popleft()


def _read_replies(connection: Any, request: _Request) -> None:
    """Reads the replies to a request; raises if some tell of a state that will pass.

    Those that did not are kept: a document that was deleted is not there when it is tried again.
    """
    replies, passing = _replies(connection, len(request.items))
    if request.replies:
        pairs = zip(request.replies, replies, strict=True)
        replies = [new if passes(old) else old for old, new in pairs]
    request.replies = replies
    if passing is not None:
        raise passing


def _replies(connection: Any, count: int) -> tuple[list[Any], redis.RedisError | None]:
    """Reads replies, errors among them; returns them, and one that tells of a passing state."""
    replies: list[Any] = []
    passing = None
    read_response = connection.read_response
    while len(replies) < count:
        try:
            replies.append(read_response())
        except redis.ResponseError as error:
            replies.append(error)
            passing = error if passes(error) else passing
    return replies, passing


def _refuse_errors(client: Client, ids: Sequence[str], replies: list[Any]) -> None:
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
    client: Client, schema: Schema, command: str, ids: Sequence[str], *rest: str
) -> Iterator[tuple[Sequence[str], list[int]]]:
    """Sends a command that takes a key and returns a number, for each of the ids."""
    requests = (
        (b"".join(pack((command, key, *rest)) for key in _keys(schema, ids[rows])), ids[rows])
        for rows in batches(len(ids), schema)
    )
    for batch, replies in exchange(client, requests):
        _refuse_errors(client, batch, replies)
        yield batch, replies


def _hset(schema: Schema, ids: Sequence[str], matrix: Array, tags: Columns) -> bytes:
    """Packs one HSET per document, by hand: this is the loop that bounds the upload."""
    blobs = encode(matrix, schema.dtype)
    heads = [b"*%d\r\n$4\r\nHSET\r\n" % (4 + 2 * count) for count in range(len(tags) + 1)]
    name = schema.vector_field.encode()
    middle = b"\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, blobs.shape[1])
    pieces: list[Any] = []
    if not tags:
        for key, blob in zip(_keys(schema, ids), blobs, strict=True):
            pieces += (heads[0], b"$%d\r\n" % len(key), key, middle, blob.data, b"\r\n")
        return b"".join(pieces)
    names = [pack([tag])[4:] for tag in tags]
    rows = zip(*tags.values(), strict=True)
    for key, blob, values in zip(_keys(schema, ids), blobs, rows, strict=True):
        head = heads[len(values) - values.count(None)]
        pieces += (head, b"$%d\r\n" % len(key), key, middle, blob.data, b"\r\n")
        for tag, value in zip(names, values, strict=True):
            if value is not None:
                pieces += (tag, pack([value])[4:])
    return b"".join(pieces)


def _keys(schema: Schema, ids: Iterable[str]) -> list[bytes]:
    return [raw(schema.prefix + id) for id in ids]


def _glob(text: str) -> str:
    """Returns a text as a glob pattern that matches just it."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
