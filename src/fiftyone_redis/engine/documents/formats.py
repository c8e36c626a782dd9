"""Commands that write and read documents as HASH or JSON. No sockets.

A HASH holds the bytes of a vector. JSON holds numbers: the exact values of the index's type, in the
shortest text that a double can be read back from, so no precision is lost. JSON vectors written by
others are rounded to the index's type on reading, as the server does on indexing. Writes change
only the given fields; a document keeps all others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.protocol.wire import Arg, Command, Parts, Request, pack, to_bytes
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors.encoding import Array, encode, round_trip

FieldValues = Mapping[str, Sequence[str | None]]
"""The values of each field, one per document; None for a missing value."""

TYPE_NAMES = {"HASH": "hash", "JSON": "ReJSON-RL"}
"""The names of the storages in replies to TYPE."""

_MEMBER = re.compile(r"""\.([^.\[]+)|\["([^"]+)"\]|\['([^']+)'\]""")


def pack_writes(
    schema: Schema,
    keys: Sequence[bytes],
    ids: Sequence[str],
    matrix: Array,
    tags: FieldValues,
) -> Request:
    """Packs the commands that write documents.

    Args:
        schema: the index
        keys: ``n`` keys
        ids: ``n`` ids
        matrix: ``n x dim`` floats
        tags: ``n`` values of each tag; None for a missing value
    """
    columns: dict[str, Sequence[str | None]] = {
        schema.path(name): values for name, values in tags.items()
    }
    if schema.id_field is not None:
        columns[schema.path(schema.id_field)] = ids
    pack_all = _pack_merges if schema.storage == "JSON" else _pack_hsets
    return Request(pack_all(schema, keys, matrix, columns), ids, keys)


def pack_reads(
    schema: Schema, keys: Sequence[bytes], ids: Sequence[str], fields: Sequence[str]
) -> Request:
    """Packs the commands that read fields of documents."""
    command = b"HMGET" if schema.storage == "HASH" else b"JSON.GET"
    paths = [to_bytes(schema.path(field)) for field in fields]
    head = b"*%d\r\n$%d\r\n%b\r\n" % (2 + len(paths), len(command), command)
    tail = b"".join(b"$%d\r\n%b\r\n" % (len(path), path) for path in paths)
    commands = [(head, b"$%d\r\n" % len(key), key, b"\r\n", tail) for key in keys]
    return Request(commands, ids, keys)


def read_command(schema: Schema, key: Arg, fields: Sequence[str]) -> Command:
    """Returns the command that reads fields of one document."""
    command = "HMGET" if schema.storage == "HASH" else "JSON.GET"
    return [command, key, *(schema.path(field) for field in fields)]


def read_values(
    schema: Schema, fields: Sequence[str], replies: list[Any]
) -> list[list[bytes | None]]:
    """Reads the replies to :func:`pack_reads`: the field values per document, None if missing.

    Vectors are bytes of the index's type for both storages.
    """
    if schema.storage == "HASH":
        with parsing("HMGET"):
            return [_check_values(reply, len(fields)) for reply in replies]
    with parsing("JSON.GET"):
        return [_read_members(schema, [schema.path(field) for field in fields], r) for r in replies]


def _check_values(reply: list[bytes | None], count: int) -> list[bytes | None]:
    if len(reply) != count or not all(value is None or type(value) is bytes for value in reply):
        raise TypeError
    return reply


def existence_command(schema: Schema, field: str) -> tuple[str, str]:
    """Returns the name of the command that tests for a field, and the field's path."""
    return "HEXISTS" if schema.storage == "HASH" else "JSON.TYPE", schema.path(field)


def read_existence(reply: Any) -> bool:
    """Reads the reply to the command of :func:`existence_command`."""
    return read_existence(reply[0]) if isinstance(reply, list) and reply else bool(reply)


def vector_size_command(schema: Schema) -> tuple[str, str]:
    """Returns the name of the command that measures the vector of a document, and its path.

    It counts the bytes in a HASH, and the numbers in JSON.
    """
    return "HSTRLEN" if schema.storage == "HASH" else "JSON.ARRLEN", schema.vector_field


def has_vector(schema: Schema, reply: Any) -> bool:
    """Reads the reply to the command of :func:`vector_size_command`: whether the size is right."""
    size = schema.dim * (DTYPES[schema.dtype] if schema.storage == "HASH" else 1)
    return reply in (size, [size])


def removal_test(schema: Schema) -> tuple[str, ...]:
    """Returns the test that a key passes if a document of an index is there; empty for none.

    See :func:`~fiftyone_redis.connection.protocol.wire.pack_if_passed`. In indexes of others,
    documents need not have a vector.
    """
    if schema.storage == "JSON":
        return "JSON.TYPE", "$"
    return ("HSTRLEN", schema.vector_field) if schema.vectors_only else ()


def read_document_command(key: bytes) -> Command:
    """Returns the command that reads a whole JSON document."""
    return ["JSON.GET", key, "$"]


def _pack_hsets(
    schema: Schema, keys: Sequence[bytes], matrix: Array, columns: FieldValues
) -> list[Parts]:
    """Packs one HSET per document; written by hand, since this loop limits the upload speed."""
    blobs = encode(matrix, schema.dtype)
    heads = [b"*%d\r\n$4\r\nHSET\r\n" % (4 + 2 * count) for count in range(len(columns) + 1)]
    name = schema.vector_field.encode()
    middle = b"\r\n$%d\r\n%b\r\n$%d\r\n" % (len(name), name, blobs.shape[1])
    if not columns:
        head = heads[0]
        return [
            (head, b"$%d\r\n" % len(key), key, middle, blob.data, b"\r\n")
            for key, blob in zip(keys, blobs, strict=True)
        ]
    names = [pack([path])[4:] for path in columns]
    rows = zip(*columns.values(), strict=True)
    commands: list[Parts] = []
    for key, blob, values in zip(keys, blobs, rows, strict=True):
        head = heads[len(values) - values.count(None)]
        parts: list[Any] = [head, b"$%d\r\n" % len(key), key, middle, blob.data, b"\r\n"]
        for path, value in zip(names, values, strict=True):
            if value is not None:
                parts += (path, pack([value])[4:])
        commands.append(tuple(parts))
    return commands


def _pack_merges(
    schema: Schema, keys: Sequence[bytes], matrix: Array, columns: FieldValues
) -> list[Parts]:
    """Packs one JSON.MERGE per document, which also creates missing documents."""
    vectors = round_trip(matrix, schema.dtype).tolist()
    rows = zip(*columns.values(), strict=True) if columns else repeat((), len(keys))
    commands: list[Parts] = []
    for key, vector, values in zip(keys, vectors, rows, strict=True):
        document: dict[str, Any] = {}
        for path, value in zip((*columns, schema.vector_field), (*values, vector), strict=True):
            if value is not None:
                _set_member(document, split_path(path), _to_json_value(schema, path, value))
        commands.append((pack(("JSON.MERGE", key, "$", json.dumps(document))),))
    return commands


def split_path(path: str) -> list[str]:
    """Splits a JSON path like ``$.a.b`` or ``$["a"].b`` into member names."""
    return ["".join(names) for names in _MEMBER.findall(path)]


def update_commands(schema: Schema, key: bytes, values: Mapping[str, str | None]) -> list[Command]:
    """Returns the commands that write fields of a document, and remove those set to None."""
    if schema.storage == "JSON":
        document: dict[str, Any] = {}
        for name, value in values.items():
            path = schema.path(name)
            _set_member(document, split_path(path), _to_json_value(schema, path, value))
        return [["JSON.MERGE", key, "$", json.dumps(document)]]
    there = [part for n, v in values.items() if v is not None for part in (schema.path(n), v)]
    gone = [schema.path(name) for name, value in values.items() if value is None]
    commands: list[Command] = [["HSET", key, *there]] if there else []
    return commands + ([["HDEL", key, *gone]] if gone else [])


def _to_json_value(schema: Schema, path: str, value: Any) -> Any:
    """Converts a field's text to a JSON value: a number for a NUMERIC attribute."""
    numeric = any(a.kind == "NUMERIC" and schema.path(a.name) == path for a in schema.attributes)
    return json.loads(value) if numeric and isinstance(value, str) else value


def _set_member(document: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value


def _read_members(schema: Schema, paths: list[str], reply: bytes | None) -> list[bytes | None]:
    if reply is None:
        return [None] * len(paths)
    read = json.loads(reply)
    found = [read] if len(paths) == 1 else [read[path] for path in paths]
    return [
        _to_bytes(schema, path, values[0] if values else None)
        for path, values in zip(paths, found, strict=True)
    ]


def _to_bytes(schema: Schema, path: str, value: Any) -> bytes | None:
    if value is None:
        return None
    if path == schema.vector_field:
        return encode_json_vector(schema, value)
    return to_bytes(value if isinstance(value, str) else json.dumps(value))


def encode_json_vector(schema: Schema, value: Any) -> bytes:
    """Returns the bytes of a vector in JSON; empty if the value is not a vector."""
    if not (isinstance(value, list) and all(isinstance(v, (int, float)) for v in value)):
        return b""
    encoded: bytes = encode(np.asarray([value], np.float64), schema.dtype)[0].tobytes()
    return encoded
