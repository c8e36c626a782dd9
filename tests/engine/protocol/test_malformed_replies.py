"""Replies that make no sense: recorded ones, changed at random, are refused, or read as values.

Both what came over the wire and what redis-py made of it is changed: bytes are lost, doubled or
others; names and values of maps are missing, or of another type.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from recorded import parsed, replies_of, servers

from fiftyone_redis.connection import capabilities, topology
from fiftyone_redis.connection.capabilities import Capabilities
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.topology import ClusterState, Node
from fiftyone_redis.doctor.indexes import describe_index
from fiftyone_redis.engine.documents import formats
from fiftyone_redis.engine.protocol import existing_index, index_info, replies
from fiftyone_redis.engine.protocol.index_info import IndexingState
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import FiftyOneRedisError

SCHEMA = Schema("a", 4, tags=("t",), key_prefixes=("",), prefixes=("",))
BY_FIELD = Schema("a", 4, id_field="id")
JSON = Schema("a", 4, storage="JSON")
JUNK = (None, True, -1, 1 << 70, 0.5, float("nan"), float("inf"), b"", b"\xff", b"7", [], {}, [[]])
UNRECORDED = {
    ("JSON.GET",): ["$17\r\n[[1, 2, 3, 4.5]]\n\r\n"],
    ("FT.AGGREGATE",): [
        "*2\r\n*3\r\n:1\r\n*2\r\n$5\r\n__key\r\n$6\r\ndocs:a\r\n$-1\r\n:7\r\n",
        (
            "*2\r\n%4\r\n+attributes\r\n*0\r\n+total_results\r\n:1\r\n+results\r\n*2\r\n"
            "%1\r\n+extra_attributes\r\n%1\r\n$5\r\n__key\r\n$6\r\ndocs:a\r\n"
            "%1\r\n+extra_attributes\r\n_\r\n+warning\r\n*0\r\n:0\r\n"
        ),
    ],
}
MOST = 60  # replies of one kind, the same ones in each run


def is_names(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def is_settings(found: Any) -> bool:
    return is_names([*found, *found.values()])


def is_hits(found: Any) -> bool:
    return all(
        isinstance(hit, Hit)
        and isinstance(hit.distance, float)
        and is_names([hit.key, hit.id, *hit.tags, *hit.tags.values()])
        for hit in found
    )


def is_page(found: Any) -> bool:
    return isinstance(found[1], int) and is_settings(found[0])


def is_state(found: Any) -> bool:
    nodes = (*found.searched, *found.held)
    return isinstance(found, ClusterState) and all(map(is_node, nodes))


def is_node(node: Any) -> bool:
    bounds = [number for slots in node.slots for number in slots]
    texts = [node.id, node.address, node.health, node.epoch, *node.moving]
    return isinstance(node, Node) and is_names(texts) and all(isinstance(b, int) for b in bounds)


def is_capabilities(found: Any) -> bool:
    texts = [found.server, found.version, found.search, *found.dtypes, *found.algorithms]
    return isinstance(found, Capabilities) and is_names(texts) and bool(str(found))


def is_rows(found: Any) -> bool:
    return all(type(value) in (bytes, type(None)) for row in found for value in row)


def read_index(reply: Any) -> tuple[Any, ...]:
    """Reads what the package reads of FT.INFO."""
    info = index_info.read_info(reply)
    assert is_names(info["index_definition"]["prefixes"])
    existing_index.may_lack_separator(info["index_definition"]["prefixes"])
    schema = index_info.read_schema(info, keys=["docs:1"])
    found = describe_index("a", info) if index_info.read_documents(info) else None
    size, (error, key) = index_info.read_index_bytes(info), index_info.read_last_failure(info)
    assert isinstance(size, int)
    assert is_names([error, key])
    return schema, found, index_info.read_prefixes(info, "HASH")


def read_hello(reply: Any) -> Capabilities:
    with capabilities.parsing("HELLO"):
        return capabilities.parse_replies(capabilities._to_dict(reply))


Read = Callable[[Any], Any]
PARSERS: dict[str, tuple[tuple[str, ...], Read, Callable[[Any], bool]]] = {
    "hits": (("FT.SEARCH",), lambda r: replies.read_hits(r, SCHEMA), is_hits),
    "hits by field": (("FT.SEARCH",), lambda r: replies.read_hits(r, BY_FIELD), is_hits),
    "some keys": (("FT.SEARCH",), replies.read_some_keys, is_names),
    "warnings": (("FT.SEARCH",), replies.read_warnings, is_names),
    "page of keys": (("FT.AGGREGATE",), lambda r: replies.read_keys(r, SCHEMA), is_page),
    "cursor": (("FT.AGGREGATE",), replies.read_cursor, lambda found: isinstance(found, int)),
    "index": (("FT.INFO",), read_index, lambda found: isinstance(found[0], Schema)),
    "indexing": (("FT.INFO",), index_info.read_indexing, lambda f: isinstance(f, IndexingState)),
    "identity": (("FT.INFO",), index_info.read_identity, lambda found: len(found) == 3),
    "settings": (("CONFIG", "GET"), replies.read_settings, is_settings),
    "old settings": (("FT.CONFIG", "GET"), replies.read_settings, is_settings),
    "names": (("FT._LIST",), wire.read_names, is_names),
    "hello": (("HELLO",), read_hello, is_capabilities),
    "modules": (
        ("MODULE", "LIST"),
        lambda reply: capabilities.parse_replies(None, reply),
        is_capabilities,
    ),
    "searched nodes": (
        ("SEARCH.CLUSTERINFO",),
        topology.read_searched,
        lambda found: all(map(is_node, found)),
    ),
    "managed": (("SEARCH.CLUSTERINFO",), topology.is_managed, lambda f: isinstance(f, bool)),
    "shards": (
        ("CLUSTER", "SHARDS"),
        topology.read_shards,
        lambda found: all(is_node(node) for shard in found for node in shard),
    ),
    "state": (
        ("CLUSTER", "NODES"),
        lambda reply: topology.read_state("a:1", redis.ResponseError("ERR"), {"a:1": reply}),
        is_state,
    ),
    "documents": (
        ("HMGET",),
        lambda reply: formats.read_values(SCHEMA, ["vector", "t"], [reply]),
        is_rows,
    ),
    "JSON documents": (
        ("JSON.GET",),
        lambda reply: formats.read_values(JSON, ["vector"], [reply]),
        is_rows,
    ),
}


def mutate_bytes(chance: random.Random, raw: str) -> Any:
    """Changes what came over the wire; returns what redis-py's parser makes of it."""
    at = chance.randrange(len(raw))
    changes = [raw[:at], raw[:at] + raw[at + 1 :], raw[:at] + raw[at:][:9] + raw[at:]]
    changes += [raw[:at] + chance.choice("\r\n*$%~:+-_,#07xé") + raw[at + 1 :]] * 3
    return parsed(chance.choice(changes))


def mutate_value(chance: random.Random, value: Any) -> Any:
    """Changes a part of a reply."""
    if not isinstance(value, list | dict) or not value or chance.random() < 0.15:
        return chance.choice(JUNK)
    items = list(value.items()) if isinstance(value, dict) else list(value)
    at, kind = chance.randrange(len(items)), chance.random()
    if kind < 0.15:
        del items[at]
    elif kind < 0.2:
        items.insert(at, items[at])
    elif isinstance(value, dict):
        name, old = items[at]
        items[at] = (b"other", old) if kind < 0.3 else (name, mutate_value(chance, old))
    else:
        items[at] = mutate_value(chance, items[at])
    return dict(items) if isinstance(value, dict) else items


def recordings(start: tuple[str, ...]) -> list[str]:
    found = {
        each["reply"]: None
        for server in servers()
        for each in replies_of(server)
        if tuple(each["command"][: len(start)]) == start
        and ("WITHCURSOR" in each["command"]) == (start == ("FT.AGGREGATE",))
        and not each["reply"].startswith("-")
    }
    return list(found)[:MOST]


def read_or_refuse(name: str, reply: Any) -> bool:
    """Returns whether a reply was read; one that cannot be must be an error of this package."""
    _, read, is_right = PARSERS[name]
    try:
        found = read(reply)
    except FiftyOneRedisError:
        return False
    assert is_right(found), (reply, found)
    return True


@pytest.mark.parametrize("name", PARSERS)
def test_changed_replies_are_read_or_refused(name):
    start, chance = PARSERS[name][0], random.Random(15)
    originals = recordings(start) or UNRECORDED[start]
    read = 0
    for number in range(400):
        raw = originals[number % len(originals)]
        try:
            changed = mutate_bytes(chance, raw) if number % 3 else parsed(raw)
        except (redis.RedisError, TypeError, ValueError):
            continue  # redis-py refuses it
        if isinstance(changed, Exception) or changed is False:
            continue  # an error, or not a whole reply
        read += read_or_refuse(name, changed if number % 2 else mutate_value(chance, changed))
    assert read > 0
