"""Builds the query engine's ``FT.*`` commands and reads its replies. No sockets.

Replies are read as redis-py hands them over undecoded, in RESP2 (flat lists of names and values)
or in RESP3 (maps). The commands and replies are those of https://redis.io/docs/latest/commands/
under FT.CREATE, FT.INFO and FT.SEARCH; ``tests/engine/recordings`` holds real ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fiftyone_redis.engine import definition
from fiftyone_redis.engine.errors import IncompleteResultError, IndexMismatchError
from fiftyone_redis.engine.schema import ALGORITHMS, DTYPES, METRICS, Field, Schema, plain_tag

Arg = str | bytes | int | float
Command = list[Arg]

_DISTANCE = "distance"
_ID = "__id"  # unlike a field's name
_ID_BYTES = _ID.encode()
_METRIC_NAMES = {engine: name for name, engine in METRICS.items()}


@dataclass(frozen=True)
class Hit:
    """One document that a query found.

    Args:
        key: the document's key
        distance: its distance in the engine's own unit, the square of the Euclidean one
        tags: the values of the tags that were asked for
        id: its id
    """

    key: str
    distance: float
    tags: dict[str, str] = field(default_factory=dict)
    id: str = ""


def pack(command: Iterable[Arg]) -> bytes:
    """Returns a command as it goes over the wire: an array of bulk strings, in RESP2 and RESP3."""
    parts = [arg if isinstance(arg, bytes) else raw(str(arg)) for arg in command]
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


def create(schema: Schema) -> Command:
    """Returns the command that makes an index."""
    attributes: list[Arg] = ["TYPE", schema.dtype.upper(), "DIM", schema.dim]
    attributes += ["DISTANCE_METRIC", METRICS[schema.metric]]
    if schema.algorithm == "FLAT":
        attributes += ["BLOCK_SIZE", schema.block_size]
    if schema.algorithm == "HNSW":
        attributes += ["M", schema.m, "EF_CONSTRUCTION", schema.ef_construction]
        attributes += ["EF_RUNTIME", schema.ef_runtime]
    command: Command = ["FT.CREATE", schema.name, "ON", schema.storage]
    command += ["PREFIX", len(schema.prefixes), *schema.prefixes, *schema.options, "SCHEMA"]
    renamed = [] if schema.vector_name == schema.vector_field else ["AS", schema.vector_name]
    command += [schema.vector_field, *renamed, "VECTOR", schema.algorithm]
    command += [len(attributes), *attributes]
    return [*command, *definition.arguments(schema)]


def info(name: str) -> Command:
    """Returns the command that describes an index."""
    return ["FT.INFO", name]


def names() -> Command:
    """Returns the command that lists the names of all indexes."""
    return ["FT._LIST"]


def drop(name: str, documents: bool) -> Command:
    """Returns the command that deletes an index, with its documents or without."""
    return ["FT.DROPINDEX", name, *(["DD"] if documents else [])]


def alias(name: str, index: str, exists: bool) -> Command:
    """Returns the command that gives an index another name, which may exist as an alias."""
    return ["FT.ALIASUPDATE" if exists else "FT.ALIASADD", name, index]


def close_cursor(name: str, cursor: int) -> Command:
    """Returns the command that ends a cursor that is not read to its end."""
    return ["FT.CURSOR", "DEL", name, cursor]


def next_page(name: str, cursor: int) -> Command:
    """Returns the command that reads on from a cursor."""
    return ["FT.CURSOR", "READ", name, cursor]


def knn(
    schema: Schema,
    query: bytes,
    k: int,
    *,
    tags: Sequence[str] = (),
    keys: Sequence[str] | None = None,
    timeout_ms: int,
) -> Command:
    """Returns the command that asks for the nearest neighbours of a vector.

    Args:
        schema: the index
        query: the vector, encoded
        k: how many neighbours
        tags: which tags to return
        keys: the keys of the documents to choose among; None for all
        timeout_ms: after how many milliseconds the server may give up
    """
    returned: list[Arg] = [_DISTANCE, *tags, *id_path(schema)]
    runtime = f" EF_RUNTIME {max(k, schema.ef_runtime)}" if schema.algorithm == "HNSW" else ""
    command: Command = [
        "FT.SEARCH",
        schema.name,
        f"*=>[KNN {k} @{schema.vector_name} $query{runtime} AS {_DISTANCE}]",
    ]
    if keys is not None:
        command += ["INKEYS", len(keys), *keys]
    command += ["RETURN", len(returned), *returned, "LIMIT", 0, k, "TIMEOUT", timeout_ms]
    return [*command, "PARAMS", 2, "query", query, "DIALECT", 2]


def keys_with_tag(schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on the documents with certain tags."""
    union = "|".join(escape(value) for value in values)
    return _keys(schema, f"@{tag}:{{{union}}}", timeout_ms)


def all_keys(schema: Schema, *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on all documents."""
    return _keys(schema, "*", timeout_ms)


def _keys(schema: Schema, query: str, timeout_ms: int) -> Command:
    path = id_path(schema)
    # A field of a HASH is loaded by "@field", one of JSON by its path.
    loaded = [f"@{path[0]}", *path[1:]] if path and schema.storage == "HASH" else path
    command: Command = ["FT.AGGREGATE", schema.name, query, "LOAD", 1 + len(loaded), "@__key"]
    command += [*loaded, "WITHCURSOR", "COUNT", 10_000, "TIMEOUT", timeout_ms, "DIALECT", 2]
    return command


def some_keys(name: str, count: int) -> Command:
    """Returns the command that asks for the keys of a few documents."""
    return ["FT.SEARCH", name, "*", "NOCONTENT", "LIMIT", 0, count, "DIALECT", 2]


def id_path(schema: Schema) -> list[str]:
    """Returns how a query names the field that holds the ids; nothing if the keys hold them."""
    if schema.id_field is None:
        return []
    return [schema.path(schema.id_field), "AS", _ID]


def pairs(reply: Any) -> dict[Any, Any]:
    """Returns a reply that is a map in RESP3, and a flat list in RESP2, as a dictionary."""
    return reply if isinstance(reply, dict) else dict(_by_two(reply))


def escape(value: str) -> str:
    """Returns a value with a backslash before every character that the query language reads."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() else c for c in value)


def text(value: bytes) -> str:
    """Returns a key or tag as text; bytes that are none can be turned back by :func:`raw`."""
    return value.decode(errors="surrogateescape")


def raw(value: str) -> bytes:
    """Returns the bytes of a key or tag."""
    return value.encode(errors="surrogateescape")


def read_hits(reply: Any, schema: Schema) -> list[Hit]:
    """Reads the reply to :func:`knn`, in the order of the reply.

    Raises:
        IncompleteResultError: if the server says that it cut the query short
        IndexMismatchError: if a document lacks the field that holds the ids
    """
    if isinstance(reply, dict):
        _refuse_warnings(reply)
        found = [(hit[b"id"], hit[b"extra_attributes"]) for hit in reply[b"results"]]
    else:
        found = [(key, fields and pairs(fields)) for key, fields in _by_two(reply[1:])]
    # A document that expired while the query ran has no fields.
    return [_hit(key, fields, schema) for key, fields in found if fields is not None]


def read_keys(reply: Any, schema: Schema) -> tuple[dict[str, str], int]:
    """Reads one page of the reply to :func:`keys_with_tag` or :func:`all_keys`.

    Returns:
        the ids of the documents by their keys, and the cursor (0 at the end)

    Raises:
        IncompleteResultError: if the server says that it cut the query short
        IndexMismatchError: if a document lacks the field that holds the ids
    """
    page, cursor = reply
    if isinstance(page, dict):
        _refuse_warnings(page)
        rows = [row[b"extra_attributes"] for row in page[b"results"]]
    else:
        rows = [pairs(row) for row in page[1:]]
    # A document that was deleted while the query ran has no fields.
    found = [(text(row[b"__key"]), row) for row in rows if b"__key" in row]
    return {key: _id(key, row.get(_ID_BYTES), schema) for key, row in found}, int(cursor)


def read_some_keys(reply: Any) -> list[str]:
    """Reads the reply to :func:`some_keys`."""
    if isinstance(reply, dict):
        return [text(hit[b"id"]) for hit in reply[b"results"]]
    return [text(key) for key in reply[1:]]


def read_info(reply: Any) -> dict[str, Any]:
    """Reads the reply to FT.INFO, as text, with its definition and attributes as dictionaries."""
    info = {str(name): value for name, value in pairs(_decoded(reply)).items()}
    info["index_definition"] = pairs(info["index_definition"])
    info["attributes"] = [_attribute(attribute) for attribute in info["attributes"]]
    return info


def read_prefixes(info: Mapping[str, Any], storage: str) -> tuple[str, ...]:
    """Returns the prefixes of an index's documents; none if they are of another storage.

    An empty prefix stands for every key.
    """
    said = info["index_definition"]
    return tuple(said["prefixes"]) or ("",) if said["key_type"] == storage else ()


def read_schema(
    info: Mapping[str, Any],
    *,
    vector_field: str | None = None,
    id_field: str | None = None,
    tags: Sequence[str] | None = None,
    keys: Sequence[str] = (),
) -> Schema:
    """Reads an index's definition from what :func:`read_info` returned.

    Args:
        info: what the server says of the index
        vector_field: the field of its vectors, where there are several
        id_field: the field of its documents' ids, if not their keys hold them
        tags: which TAG fields to write and read with every vector; None for all
        keys: some of its documents' keys, if :func:`definition.lacks_separator`

    Raises:
        IndexMismatchError: if it has no vector field, several and none is named, or one of a kind
            that is not supported
    """
    name, storage = info["index_name"], info["index_definition"]["key_type"]
    vector = definition.vector(info, vector_field)
    dtype = vector["data_type"].lower()
    if dtype not in DTYPES or vector["algorithm"] not in ALGORITHMS:
        raise IndexMismatchError(
            f"The index {name!r} is {vector['algorithm']} of {dtype}, which is not supported."
        )
    id_name, unknown = definition.id_field(info, id_field)
    others, lost = definition.fields(a for a in info["attributes"] if a is not vector)
    all_tags = [f.name for f in others if f.kind == "TAG" and f.name != id_name]
    read = tuple(all_tags if tags is None else [tag for tag in tags if tag in all_tags])
    options, lost_options = definition.options(info)
    flags = [f"{flag} of the field {vector['attribute']}" for flag in vector.get("flags", ())]
    prefixes = read_prefixes(info, storage)
    starts = definition.key_prefixes(definition.shortest(prefixes), keys)
    return Schema(
        name=name,
        dim=int(vector["dim"]),
        metric=_METRIC_NAMES[vector["distance_metric"]],
        algorithm=vector["algorithm"],
        dtype=dtype,
        prefix=starts[0],
        vector_field=vector["identifier"],
        tags=read,
        m=int(vector.get("M", Schema.m)),
        ef_construction=int(vector.get("ef_construction", Schema.ef_construction)),
        storage=storage,
        vector_name=vector["attribute"],
        id_field=id_name,
        prefixes=prefixes,
        key_prefixes=tuple(sorted(starts, key=len, reverse=True)),
        fields=(*(f for f in others if not _is_made_up(f, {*read, id_name}, storage)), *unknown),
        options=options,
        lost=(*lost, *lost_options, *flags),
    )


def _is_made_up(field: Field, named: set[str | None], storage: str) -> bool:
    """Returns whether a field is one that FT.CREATE gets without its definition being noted."""
    path = f"$.{field.name}" if storage == "JSON" else field.name
    return field.name in named and field == plain_tag(field.name, path, storage)


def _hit(key: bytes, fields: Mapping[bytes, bytes], schema: Schema) -> Hit:
    values = {name.decode(): text(value) for name, value in fields.items() if name != _ID_BYTES}
    name = text(key)
    id = _id(name, fields.get(_ID_BYTES), schema)
    return Hit(name, float(values.pop(_DISTANCE)), values, id)


def _id(key: str, held: bytes | None, schema: Schema) -> str:
    if schema.id_field is None:
        for prefix in schema.key_prefixes:
            if key.startswith(prefix):
                return key[len(prefix) :]
        raise IndexMismatchError(
            f"The index {schema.name!r} has documents of other names than when it was opened "
            f"({key!r}); it was rebuilt, open it again."
        )
    if not held:
        raise IndexMismatchError(
            f"The document {key!r} of the index {schema.name!r} has no {schema.id_field!r}, the "
            "field that holds the ids; name the right one with id_field, or remove the document."
        )
    return text(held)


def _refuse_warnings(reply: Mapping[bytes, Any]) -> None:
    warnings = [w.decode() for w in reply.get(b"warning", ())]
    if warnings:
        raise IncompleteResultError(
            f"The server cut the query short ({'; '.join(warnings)}); allow it more time."
        )


def _attribute(flat: Any) -> dict[str, Any]:
    """Reads an attribute, which in RESP2 ends with flags that have no value (SORTABLE and such)."""
    if isinstance(flat, dict):
        return flat
    first = next((at for at in range(6, len(flat), 2) if flat[at] in definition.FLAGS), len(flat))
    return {**dict(_by_two(flat[:first])), "flags": list(flat[first:])}


def _by_two(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _decoded(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode(errors="replace")
    if isinstance(reply, dict):
        return {_decoded(name): _decoded(value) for name, value in reply.items()}
    if isinstance(reply, (list, tuple)):
        return [_decoded(item) for item in reply]
    return reply
