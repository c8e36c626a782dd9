"""Builds the query engine's ``FT.*`` commands, and packs commands for the wire. No sockets.

The commands are those of https://redis.io/docs/latest/commands/ under FT.AGGREGATE, FT.CREATE and
FT.SEARCH; what they are answered is read in ``replies.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from fiftyone_redis.engine import definition
from fiftyone_redis.engine.options import OPTIONS, tuning
from fiftyone_redis.engine.refusals import Refusal, recognise
from fiftyone_redis.engine.schema import DISTANCE, Schema

Arg = str | bytes | int | float
Command = list[Arg]

ID = "__id"
"""The name under which a query returns the field that holds the id, unlike a field's name."""

SEARCH = "FT.SEARCH"
"""The command that tells whether there is a query engine."""

COORDINATOR = "SEARCH.CLUSTERINFO"
"""A command that only a query engine knows that answers for all nodes of a cluster."""

_FIRST_WORD = re.compile(rb"\*\d+\r\n\$\d+\r\n([^\r]*)\r\n")
_OWN_LIMIT = re.compile(rb"\$7\r\nTIMEOUT\r\n\$\d+\r\n(\d+)\r\n")
_DONE_BEFORE = {
    "FT.CREATE": Refusal.INDEX_EXISTS,
    "FT.DROPINDEX": Refusal.INDEX_NOT_FOUND,
    "FT.ALIASADD": Refusal.ALIAS_EXISTS,
    "FT.ALIASDEL": Refusal.ALIAS_NOT_FOUND,
}


def pack(command: Iterable[Arg]) -> bytes:
    """Returns a command as it goes over the wire: an array of bulk strings, in RESP2 and RESP3."""
    parts = [arg if isinstance(arg, bytes) else raw(str(arg)) for arg in command]
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


Parts = tuple[bytes | memoryview, ...]
"""A packed command in pieces: all commands of a request are joined at once, as that takes time."""


class Request(NamedTuple):
    """Packed commands that are sent together.

    Args:
        commands: each command as it goes over the wire
        items: what each of them is about, for those who read the replies
        keys: the key of each of them; None for commands of the query engine, which have none
    """

    commands: Sequence[Parts]
    items: Sequence[Any]
    keys: Sequence[bytes] | None = None

    def packed(self) -> bytes:
        """Returns all commands as they go over the wire."""
        return b"".join(chain.from_iterable(self.commands))


def queries(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs commands of the query engine.

    Args:
        commands: the commands
        items: what each of them is about
    """
    return Request([(pack(command),) for command in commands], items)


def keyed(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs commands that have their key, as bytes, as their second word.

    Args:
        commands: the commands
        items: what each of them is about
    """
    packed: list[Parts] = []
    keys = []
    for command in commands:
        packed.append((pack(command),))
        keys.append(command[1])
    return Request(packed, items, cast("list[bytes]", keys))


def first_word(packed: bytes) -> str:
    """Returns the name of a packed command."""
    found = _FIRST_WORD.match(packed)
    return found[1].decode() if found else ""


def own_limit(packed: bytes) -> float | None:
    """Returns the seconds after which a packed query is to be given up; None if it does not say."""
    found = _OWN_LIMIT.search(packed)
    return int(found[1]) / 1000 if found else None


def asks_engine(name: str) -> bool:
    """Returns whether the query engine answers a command, given its name."""
    return name.startswith("FT.")


def changes_index(name: str) -> bool:
    """Returns whether a command makes, changes or removes an index, or an alias."""
    return name.startswith(("FT.CREATE", "FT.DROPINDEX", "FT.ALTER", "FT.ALIAS"))


def may_take_long(name: str) -> bool:
    """Returns whether the work of a command grows with the documents, though it is no query."""
    return name == "FT.DROPINDEX"


def subject(command: Sequence[Any]) -> str | None:
    """Returns the name of the index that a command needs, or is to make; None for other commands.

    An index or alias that is to be removed is not needed.
    """
    at = {"FT.DROPINDEX": 0, "FT.ALIASDEL": 0, "FT.ALIASADD": 2, "FT.ALIASUPDATE": 2}
    place = at.get(str(command[0]), 1)
    if not place or len(command) <= place:
        return None
    name = command[place]
    return text(name) if isinstance(name, bytes) else str(name)


def resolve(name: str) -> Command:
    """Returns a command that a node refuses if it does not know an index or alias itself."""
    return ["FT.EXPLAIN", name, "*"]


def create(schema: Schema) -> Command:
    """Returns the command that makes an index."""
    attributes: list[Arg] = [*OPTIONS["dtype"].say(schema.dtype), "DIM", schema.dim]
    attributes += OPTIONS["metric"].say(schema.metric)
    for option in tuning(schema.algorithm):
        attributes += option.say(getattr(schema, option.name))
    command: Command = ["FT.CREATE", schema.server_name, "ON", schema.storage]
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


def setting(name: str) -> Command:
    """Returns the command that reads a setting of the query engine."""
    return ["FT.CONFIG", "GET", name]


def drop(name: str, documents: bool) -> Command:
    """Returns the command that deletes an index, with its documents or without."""
    return ["FT.DROPINDEX", name, *(["DD"] if documents else [])]


def add_alias(alias: str, index: str) -> Command:
    """Returns the command that makes an alias; it is refused where there is one of that name."""
    return ["FT.ALIASADD", alias, index]


def move_alias(alias: str, index: str) -> Command:
    """Returns the command that makes an alias lead to an index, in one step."""
    return ["FT.ALIASUPDATE", alias, index]


def record_key(alias: str) -> str:
    """Returns the key of the record of a rebuild: never one of a document's."""
    return f"fiftyone-redis:{alias}"


def lease_key(alias: str) -> str:
    """Returns the key of the lease of an alias."""
    return f"fiftyone-redis:{alias}:lease"


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
    return done is not None and recognise(refusal) is done


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
    returned: list[Arg] = [DISTANCE, *tags, *([] if schema.id_field in tags else id_path(schema))]
    runtime = _runtime(schema, k)
    query_text = f"*=>[KNN {k} @{schema.vector_name} $query{runtime} AS {DISTANCE}]"
    command: Command = [SEARCH, schema.server_name, query_text]
    if keys is not None:
        command += ["INKEYS", len(keys), *keys]
    command += ["RETURN", len(returned), *returned, "LIMIT", 0, k, "TIMEOUT", timeout_ms]
    return [*command, "PARAMS", 2, "query", query, "DIALECT", 2]


def keys_with_tag(schema: Schema, tag: str, values: Sequence[str], *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on the documents with certain tags."""
    return _keys(schema, _tagged(tag, values), timeout_ms)


def all_keys(schema: Schema, *, timeout_ms: int) -> Command:
    """Returns the command that opens a cursor on all documents."""
    return _keys(schema, "*", timeout_ms)


def _keys(schema: Schema, query: str, timeout_ms: int) -> Command:
    path = id_path(schema)
    # A field of a HASH is loaded by "@field", one of JSON by its path.
    loaded = [f"@{path[0]}", *path[1:]] if path and schema.storage == "HASH" else path
    command: Command = [
        "FT.AGGREGATE",
        schema.server_name,
        query,
        "LOAD",
        1 + len(loaded),
        "@__key",
    ]
    command += [*loaded, "WITHCURSOR", "COUNT", 10_000, "TIMEOUT", timeout_ms, "DIALECT", 2]
    return command


def some_keys(name: str, count: int) -> Command:
    """Returns the command that asks for the keys of a few documents."""
    return [SEARCH, name, "*", "NOCONTENT", "LIMIT", 0, count, "DIALECT", 2]


def count(name: str, *, timeout_ms: int) -> Command:
    """Returns the command that counts an index's documents, as a query does."""
    return [SEARCH, name, "*", "LIMIT", 0, 0, "TIMEOUT", timeout_ms, "DIALECT", 2]


def id_path(schema: Schema) -> list[str]:
    """Returns how a query names the field that holds the ids; nothing if the keys hold them."""
    if schema.id_field is None:
        return []
    return [schema.path(schema.id_field), "AS", ID]


def _tagged(tag: str, values: Sequence[str]) -> str:
    return f"@{tag}:{{{'|'.join(escape(value) for value in values)}}}"


def _runtime(schema: Schema, k: int) -> str:
    """Returns how many candidates a query keeps, which must be as many as it asks for."""
    asked = [option for option in tuning(schema.algorithm) if option.per_query]
    return "".join(f" {each.word} {max(k, getattr(schema, each.name))}" for each in asked)


def escape(value: str) -> str:
    """Returns a value with a backslash before every character that the query language reads."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() else c for c in value)


def text(value: bytes) -> str:
    """Returns a key or tag as text; bytes that are none can be turned back by :func:`raw`."""
    return value.decode(errors="surrogateescape")


def raw(value: str) -> bytes:
    """Returns the bytes of a key or tag."""
    return value.encode(errors="surrogateescape")
