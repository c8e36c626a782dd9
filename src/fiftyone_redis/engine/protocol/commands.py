"""Builds the query engine's ``FT.*`` commands. No sockets.

See https://redis.io/docs/latest/commands/ for their syntax; ``replies.py`` parses the replies.
"""

from __future__ import annotations

from collections.abc import Sequence

from fiftyone_redis.connection.protocol.wire import LIST, SEARCH, Arg, Command, to_bytes
from fiftyone_redis.engine.protocol import existing_index
from fiftyone_redis.engine.schema.options import OPTIONS, tuning_options
from fiftyone_redis.engine.schema.schema import DISTANCE, Schema

# The braces keep all of these keys on one node of a cluster.
_OWN_KEYS = "fiftyone-{redis}"

# The server does nothing else during a page: 4 ms here. Pages of 10,000 took 70 ms, and per key
# twice as long.
_PAGE = 1_000

ID = "__id"
"""The alias under which queries return the id field; no field has this name."""


def create(schema: Schema) -> Command:
    """Returns the command that creates an index."""
    attributes: list[Arg] = [*OPTIONS["dtype"].arguments(schema.dtype), "DIM", schema.dim]
    attributes += OPTIONS["metric"].arguments(schema.metric)
    for option in tuning_options(schema.algorithm):
        attributes += option.arguments(getattr(schema, option.name))
    command: Command = ["FT.CREATE", schema.server_name, "ON", schema.storage]
    command += ["PREFIX", len(schema.prefixes), *schema.prefixes, *schema.options]
    command += ["FILTER", schema.vector_filter] if schema.vectors_only else []
    command.append("SCHEMA")
    renamed = [] if schema.vector_name == schema.vector_field else ["AS", schema.vector_name]
    command += [schema.vector_field, *renamed, "VECTOR", schema.algorithm]
    command += [len(attributes), *attributes]
    return [*command, *existing_index.field_arguments(schema)]


def info(name: str) -> Command:
    """Returns the command that describes an index."""
    return ["FT.INFO", name]


def names() -> Command:
    """Returns the command that lists the names of all indexes."""
    return [LIST]


def setting(name: str) -> Command:
    """Returns the command that reads a configuration parameter of the query engine."""
    return ["FT.CONFIG", "GET", name]


def drop(name: str, documents: bool) -> Command:
    """Returns the command that drops an index, with or without its documents."""
    return ["FT.DROPINDEX", name, *(["DD"] if documents else [])]


def add_alias(alias: str, index: str) -> Command:
    """Returns the command that adds an alias; it fails if the alias exists."""
    return ["FT.ALIASADD", alias, index]


def move_alias(alias: str, index: str) -> Command:
    """Returns the command that points an alias at an index, atomically."""
    return ["FT.ALIASUPDATE", alias, index]


def record_key(alias: str) -> str:
    """Returns the key of a rebuild's record, which is never a document's key."""
    return f"{_OWN_KEYS}:record:{alias}"


def lease_key(alias: str) -> str:
    """Returns the key of the lease of an alias."""
    return f"{_OWN_KEYS}:lease:{alias}"


def sync_key(alias: str) -> str:
    """Returns the key that holds when each dataset was last in step with the index."""
    return f"{_OWN_KEYS}:synced:{alias}"


def state(alias: str) -> Command:
    """Returns the command that reads the owner of an alias's lease, and the record."""
    return ["MGET", lease_key(alias), record_key(alias)]


def close_cursor(name: str, cursor: int) -> Command:
    """Returns the command that deletes a cursor before its end."""
    return ["FT.CURSOR", "DEL", name, cursor]


def next_page(name: str, cursor: int) -> Command:
    """Returns the command that reads the next page of a cursor."""
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
    """Returns the command that finds the nearest neighbours of a vector.

    Args:
        schema: the index
        query: the encoded query vector
        k: the number of neighbours
        tags: the tags to return
        keys: the keys of the documents to search, as a pre-filter; None for all
        timeout_ms: the server's time limit, in milliseconds
    """
    returned: list[Arg] = [DISTANCE, *tags, *([] if schema.id_field in tags else id_path(schema))]
    runtime = _runtime(schema, k)
    query_text = f"*=>[KNN {k} @{schema.vector_name} $query{runtime} AS {DISTANCE}]"
    command: Command = [SEARCH, schema.server_name, query_text]
    if keys is not None:
        command += ["INKEYS", len(keys), *keys]
    command += ["RETURN", len(returned), *returned, "LIMIT", 0, k, "TIMEOUT", timeout_ms]
    return [*command, "PARAMS", 2, "query", query, "DIALECT", 2]


def keys_with_tag(schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on the documents with one of some tag values."""
    # The query language has no escape for control characters.
    odd = [value for value in values if not value.isprintable()]
    names = {value: f"value{number}" for number, value in enumerate(odd)}
    terms = [f"${names[value]}" if value in names else escape(value) for value in values]
    command = _keys(schema, f"@{tag}:{{{'|'.join(terms)}}}", timeout_ms)
    if names:
        command += ["PARAMS", 2 * len(names)]
        command += [part for value, name in names.items() for part in (name, to_bytes(value))]
    return command


def all_keys(schema: Schema, *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on all documents."""
    return _keys(schema, "*", timeout_ms)


def _keys(schema: Schema, query: str, timeout_ms: int) -> Command:
    path = id_path(schema)
    # LOAD takes "@field" for a HASH and a path for JSON.
    loaded = [f"@{path[0]}", *path[1:]] if path and schema.storage == "HASH" else path
    command: Command = [
        "FT.AGGREGATE",
        schema.server_name,
        query,
        "LOAD",
        1 + len(loaded),
        "@__key",
    ]
    command += [*loaded, "WITHCURSOR", "COUNT", _PAGE, "TIMEOUT", timeout_ms, "DIALECT", 2]
    return command


def some_keys(name: str, count: int) -> Command:
    """Returns the command that returns the keys of a few documents."""
    return [SEARCH, name, "*", "NOCONTENT", "LIMIT", 0, count, "DIALECT", 2]


def count(name: str, *, timeout_ms: int) -> Command:
    """Returns the command that counts the documents of an index with a query."""
    return [SEARCH, name, "*", "LIMIT", 0, 0, "TIMEOUT", timeout_ms, "DIALECT", 2]


def id_path(schema: Schema) -> list[str]:
    """Returns the arguments that name the id field in a query; none if the keys hold the ids."""
    if schema.id_field is None:
        return []
    return [schema.path(schema.id_field), "AS", ID]


def _runtime(schema: Schema, k: int) -> str:
    """Returns the runtime parameters of a query, which must be at least ``k``."""
    options = [option for option in tuning_options(schema.algorithm) if option.per_query]
    return "".join(f" {each.argument} {max(k, getattr(schema, each.name))}" for each in options)


def escape(value: str) -> str:
    """Escapes a value with backslashes for the query language."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() else c for c in value)
