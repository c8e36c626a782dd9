"""Builds the query engine's ``FT.*`` commands and reads its replies. No sockets.

Replies are read as redis-py hands them over undecoded, in RESP2 (flat lists of names and values)
or in RESP3 (maps). The commands and replies are those of https://redis.io/docs/latest/commands/
under FT.CREATE, FT.INFO and FT.SEARCH; ``tests/engine/recordings`` holds real ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fiftyone_redis.engine.errors import IncompleteResultError, IndexMismatchError, some
from fiftyone_redis.engine.schema import (
    ALGORITHMS,
    COMPRESSIONS,
    DISTANCE,
    DTYPES,
    KINDS,
    METRICS,
    Attribute,
    Schema,
)

Arg = str | bytes | int | float
Command = list[Arg]

SEPARATOR = "\x1e"
"""Stands between the values of an attribute that is a TAG: ASCII's record separator."""

SEARCH = "FT.SEARCH"
"""The command that every query engine knows."""

COORDINATOR = "SEARCH.CLUSTERINFO"
"""A command that only a query engine knows that answers for all nodes of a cluster."""

_DISTANCE = DISTANCE
_DISTANCE_FIELD = _DISTANCE.encode()
_MOST_CANDIDATES = 4096  # that Valkey's search keeps
_NO_SEPARATOR = "\x1f"  # a tag's value is one value, whatever it holds
_DONE_BEFORE = {
    "FT.CREATE": ("index already exists",),
    "FT.DROPINDEX": ("unknown index name", "no such index"),
    "FT.ALIASADD": ("alias already exists",),
}
_METRIC_NAMES = {engine: name for name, engine in METRICS.items()}


class Hit(NamedTuple):
    """One document that a query found.

    Args:
        key: the document's key
        distance: its distance in the engine's own unit, the square of the Euclidean one
        tags: the values of the tags that were asked for
    """

    key: str
    distance: float
    tags: Mapping[str, str] = MappingProxyType({})


def pack(command: Iterable[Arg]) -> bytes:
    """Returns a command as it goes over the wire: an array of bulk strings, in RESP2 and RESP3."""
    parts = [arg if isinstance(arg, bytes) else raw(str(arg)) for arg in command]
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


class Packed(NamedTuple):
    """One packed command.

    Args:
        packed: the command as it goes over the wire
        key: the key that it is about; None for commands of the query engine, which have none
    """

    packed: memoryview
    key: bytes | None


def unpack(packed: bytes, count: int) -> list[Packed]:
    """Takes packed commands apart. All but the query engine's have one key, as their second word.

    Args:
        packed: the commands, as :func:`pack` packs them
        count: how many there are
    """
    view, find = memoryview(packed), packed.index
    found = []
    end = 0
    for _ in range(count):
        start, head = end, find(b"\r\n", end)
        end = head + 2
        words: list[bytes] = []
        for _ in range(int(packed[start + 1 : head])):
            head = find(b"\r\n", end) + 2
            length = int(packed[end + 1 : head - 2])
            if len(words) < 2:
                words.append(packed[head : head + length])
            end = head + length + 2
        has_key = len(words) > 1 and not words[0].startswith(b"FT.")
        found.append(Packed(view[start:end], words[1] if has_key else None))
    return found


def create(schema: Schema, *, plain: bool = False) -> Command:
    """Returns the command that makes an index.

    Args:
        schema: the index
        plain: whether to leave out what only RediSearch knows
    """
    attributes: list[Arg] = ["TYPE", schema.dtype.upper(), "DIM", schema.dim]
    attributes += ["DISTANCE_METRIC", METRICS[schema.metric], *_settings(schema, plain)]
    command: Command = ["FT.CREATE", schema.name, "ON", "HASH", "PREFIX", 1, schema.prefix]
    command += ["SCHEMA", schema.vector_field, "VECTOR", schema.algorithm]
    command += [len(attributes), *attributes]
    for tag in schema.tags:
        separator = [] if plain else ["SEPARATOR", _NO_SEPARATOR]
        command += [tag, "TAG", *separator, "CASESENSITIVE"]
    for attribute in schema.attributes:
        command += [attribute.name, attribute.kind]
        if attribute.kind == "TAG":
            command += ["SEPARATOR", SEPARATOR, "CASESENSITIVE"]
    return command


def _settings(schema: Schema, plain: bool) -> list[Arg]:
    """Returns the settings of an index's algorithm."""
    if schema.algorithm == "FLAT":
        return [] if plain else ["BLOCK_SIZE", schema.block_size]
    if schema.algorithm == "HNSW":
        runtime = min(schema.ef_runtime, _MOST_CANDIDATES) if plain else schema.ef_runtime
        graph: list[Arg] = ["M", schema.m, "EF_CONSTRUCTION", schema.ef_construction]
        return [*graph, "EF_RUNTIME", runtime]
    settings: list[Arg] = ["GRAPH_MAX_DEGREE", schema.graph_max_degree]
    settings += ["CONSTRUCTION_WINDOW_SIZE", schema.construction_window_size]
    settings += ["SEARCH_WINDOW_SIZE", schema.search_window_size]
    return settings + ([] if schema.compression == "none" else ["COMPRESSION", schema.compression])


def info(name: str) -> Command:
    """Returns the command that describes an index."""
    return ["FT.INFO", name]


def names() -> Command:
    """Returns the command that lists the names of all indexes."""
    return ["FT._LIST"]


def setting(name: str) -> Command:
    """Returns the command that reads a setting of the query engine."""
    return ["FT.CONFIG", "GET", name]


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


def is_done(command: Sequence[Any], refusal: str) -> bool:
    """Returns whether a refusal tells that a command had been carried out before.

    Args:
        command: a command that was sent again, since the first time no reply came
        refusal: what the server says now
    """
    done = _DONE_BEFORE.get(str(command[0]))
    return done is not None and any(part in refusal.lower() for part in done)


def knn(
    schema: Schema,
    query: bytes,
    k: int,
    *,
    tags: Sequence[str] = (),
    keys: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    plain: bool = False,
    timeout_ms: int,
) -> Command:
    """Returns the command that asks for the nearest neighbours of a vector.

    Args:
        schema: the index
        query: the vector, encoded
        k: how many neighbours
        tags: which tags to return
        keys: the keys of the documents to choose among; None for all
        ids: the same, as values of the tag that is the index's ``id_field``
        plain: whether to ask for no more than every query engine grants
        timeout_ms: after how many milliseconds the server may give up
    """
    returned = [_DISTANCE, *tags]
    allowed = "*" if ids is None else f"({_tagged(str(schema.id_field), ids)})"
    runtime = _runtime(schema, k, plain)
    query_text = f"{allowed}=>[KNN {k} @{schema.vector_field} $query{runtime} AS {_DISTANCE}]"
    command: Command = [SEARCH, schema.name, query_text]
    if keys is not None:
        command += ["INKEYS", len(keys), *keys]
    command += ["RETURN", len(returned), *returned, "LIMIT", 0, k, "TIMEOUT", timeout_ms]
    return [*command, "PARAMS", 2, "query", query, "DIALECT", 2]


def keys_with_tag(schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on the keys of the documents with certain tags."""
    query_text = _tagged(tag, values)
    command: Command = ["FT.AGGREGATE", schema.name, query_text, "LOAD", 1, "@__key"]
    return [*command, "WITHCURSOR", "COUNT", 10_000, "TIMEOUT", timeout_ms, "DIALECT", 2]


def _tagged(tag: str, values: Sequence[str]) -> str:
    return f"@{tag}:{{{'|'.join(escape(value) for value in values)}}}"


def _runtime(schema: Schema, k: int, plain: bool) -> str:
    """Returns how many candidates a query keeps, which must be as many as it asks for."""
    if schema.algorithm == "HNSW":
        candidates = max(k, schema.ef_runtime)
        return f" EF_RUNTIME {min(candidates, _MOST_CANDIDATES) if plain else candidates}"
    if schema.algorithm == "SVS-VAMANA":
        return f" SEARCH_WINDOW_SIZE {max(k, schema.search_window_size)}"
    return ""


def escape(value: str) -> str:
    """Returns a value with a backslash before every character that the query language reads."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() else c for c in value)


def text(value: bytes) -> str:
    """Returns a key or tag as text; bytes that are none can be turned back by :func:`raw`."""
    return value.decode(errors="surrogateescape")


def raw(value: str) -> bytes:
    """Returns the bytes of a key or tag."""
    return value.encode(errors="surrogateescape")


def read_hits(reply: Any) -> list[Hit]:
    """Reads the reply to :func:`knn`, in the order of the reply.

    Raises:
        IncompleteResultError: if the server says that it cut the query short
    """
    if isinstance(reply, dict):
        _refuse_warnings(reply)
        pairs = [(hit[b"id"], hit[b"extra_attributes"]) for hit in reply[b"results"]]
    else:
        pairs = [(key, fields and _pairs(fields)) for key, fields in _by_two(reply[1:])]
    # A document that expired while the query ran has no fields.
    return [_hit(key, fields) for key, fields in pairs if fields is not None]


def read_keys(reply: Any) -> tuple[list[str], int]:
    """Reads one page of the reply to :func:`keys_with_tag`: keys, and the cursor (0 at the end)."""
    page, cursor = reply
    if isinstance(page, dict):
        _refuse_warnings(page)
        rows = [row[b"extra_attributes"] for row in page[b"results"]]
    else:
        rows = [_pairs(row) for row in page[1:]]
    return [text(row[b"__key"]) for row in rows], int(cursor)


def read_info(reply: Any) -> dict[str, Any]:
    """Reads the reply to FT.INFO, as text, with its definition and attributes as dictionaries.

    What Valkey's search calls otherwise gets the names that RediSearch has for it.
    """
    info = {str(name): value for name, value in _pairs(_decoded(reply)).items()}
    info["index_definition"] = _pairs(info["index_definition"])
    info["attributes"] = [_attribute(attribute) for attribute in info["attributes"]]
    info.setdefault("indexing", info.get("backfill_in_progress", 0))
    return info


def read_setting(reply: Any) -> str | None:
    """Reads the one value of a reply to :func:`setting`, or to CONFIG GET; None for none."""
    if not isinstance(reply, dict):
        flat = reply[0] if reply and isinstance(reply[0], (list, tuple)) else reply
        reply = dict(_by_two(flat))
    value = next(iter(reply.values()), None)
    return None if value is None else str(_decoded(value))


def read_last_failure(info: Mapping[str, Any]) -> tuple[str, str]:
    """Reads from :func:`read_info` why a document was last not indexed, and its key; or nothing."""
    told = _pairs(info.get("Index Errors", {}))
    return told.get("last indexing error", ""), told.get("last indexing error key", "")


def read_prefixes(info: Mapping[str, Any]) -> list[str]:
    """Returns the prefixes of the HASH documents that an index holds; none for other documents."""
    definition = info["index_definition"]
    return list(definition["prefixes"]) if definition["key_type"] == "HASH" else []


def read_attributes(info: Mapping[str, Any]) -> tuple[Attribute, ...]:
    """Returns an index's fields that are neither its vectors nor tags of one value."""
    return tuple(
        Attribute(a["identifier"], a["type"])
        for a in info["attributes"]
        if _is_many(a) or (a["type"] in KINDS and a["type"] != "TAG")
    )


def read_schema(info: Mapping[str, Any]) -> Schema:
    """Reads an index's definition from what :func:`read_info` returned.

    Raises:
        IndexMismatchError: if it is no index of HASH documents with one vector field
    """
    name = info["index_name"]
    definition, attributes = info["index_definition"], info["attributes"]
    vectors = [a for a in attributes if a["type"] == "VECTOR"]
    if definition["key_type"] != "HASH":
        raise IndexMismatchError(
            f"The index {name!r} holds {definition['key_type']} documents; only HASH is supported."
        )
    if len(vectors) != 1:
        raise IndexMismatchError(
            f"The index {name!r} has {len(vectors)} vector fields; it must have exactly one."
        )
    if len(definition["prefixes"]) != 1:
        raise IndexMismatchError(f"The index {name!r} has several prefixes; it must have one.")
    if not definition["prefixes"][0]:
        raise IndexMismatchError(f"The index {name!r} has no prefix; it must have one.")
    renamed = [a["attribute"] for a in attributes if a["attribute"] != a["identifier"]]
    if renamed:
        raise IndexMismatchError(
            f"The index {name!r} renames fields ({some(renamed)}), which is not supported."
        )
    vector = vectors[0]
    dtype = vector["data_type"].lower()
    if dtype not in DTYPES or vector["algorithm"] not in ALGORITHMS:
        raise IndexMismatchError(
            f"The index {name!r} is {vector['algorithm']} of {dtype}, which is not supported."
        )
    return Schema(
        name=name,
        dim=int(vector["dim"]),
        metric=_METRIC_NAMES[vector["distance_metric"]],
        algorithm=vector["algorithm"],
        dtype=dtype,
        prefix=definition["prefixes"][0],
        vector_field=vector["identifier"],
        tags=tuple(a["identifier"] for a in attributes if a["type"] == "TAG" and not _is_many(a)),
        attributes=read_attributes(info),
        m=int(vector.get("M", Schema.m)),
        ef_construction=int(vector.get("ef_construction", Schema.ef_construction)),
        graph_max_degree=int(vector.get("graph_max_degree", Schema.graph_max_degree)),
        construction_window_size=int(
            vector.get("construction_window_size", Schema.construction_window_size)
        ),
        compression=_compression(vector.get("compression", "")),
    )


def _is_many(attribute: Mapping[str, Any]) -> bool:
    return attribute["type"] == "TAG" and attribute.get("SEPARATOR") == SEPARATOR


def _compression(name: str) -> str:
    """Reads a compression; a server that has but one calls that by another name, for all of them.

    It is said to be of 8 bits, so that an index that is made again like this one is like it.
    """
    if name in COMPRESSIONS:
        return name
    return "none" if name in ("", "NO_COMPRESSION") else "LVQ8"


def _hit(key: bytes, fields: dict[bytes, bytes]) -> Hit:
    distance = float(fields.pop(_DISTANCE_FIELD))
    if not fields:
        return Hit(text(key), distance)
    return Hit(text(key), distance, {name.decode(): text(v) for name, v in fields.items()})


def _refuse_warnings(reply: Mapping[bytes, Any]) -> None:
    warnings = [w.decode() for w in reply.get(b"warning", ())]
    if warnings:
        raise IncompleteResultError(
            f"The server cut the query short ({'; '.join(warnings)}); allow it more time."
        )


def _attribute(flat: Any) -> dict[str, Any]:
    """Reads an attribute, which in RESP2 ends with flags that have no value (SORTABLE and such)."""
    attribute = flat if isinstance(flat, dict) else dict(_by_two(flat[: len(flat) // 2 * 2]))
    if "index" not in attribute:
        return attribute
    # As https://valkey.io/commands/ft.info/ has it: one map in another.
    vector = _pairs(attribute["index"])
    graph = _pairs(vector["algorithm"])
    return {
        **attribute,
        **vector,
        "algorithm": graph["name"],
        "dim": vector["dimensions"],
        "M": graph.get("m", Schema.m),
        "ef_construction": graph.get("ef_construction", Schema.ef_construction),
    }


def _pairs(reply: Any) -> dict[Any, Any]:
    return reply if isinstance(reply, dict) else dict(_by_two(reply))


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
