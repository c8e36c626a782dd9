"""What the indexes of a server are like, and what to do about it. Nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from fiftyone_redis.engine import documents, protocol, replies
from fiftyone_redis.engine.cluster import Client, primaries
from fiftyone_redis.engine.connection import address, execute
from fiftyone_redis.engine.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IndexNotFoundError,
    some,
)
from fiftyone_redis.engine.findings import NOTE, OK, PROBLEM, WARNING, Finding, readable, told
from fiftyone_redis.engine.schema import DTYPES, Schema

Info = Mapping[str, Any]

# What a rebuild calls the index that it makes; the name in front is the alias that leads to it.
_PHYSICAL = re.compile(r"(.+)~(?:[0-9a-f]{8}|\d+)")
_LOOKED_AT = 256  # keys, of an index's documents


def indexes(client: Client) -> list[Finding]:
    """Looks at every index: its documents, what a rebuild left behind, what slows it down."""
    names, findings = _names(client)
    graphs: list[str] = []
    for name in names:
        try:
            info = replies.read_info(execute(client, *protocol.info(name)))
        except IndexNotFoundError:
            continue  # it was dropped meanwhile
        except FiftyOneRedisError as error:
            findings.append(Finding("index", NOTE, f"{name}: {error}"))
            continue
        shown, is_leftover = _shown(client, name)
        if is_leftover:
            findings.append(_leftover(shown))
            continue
        findings += [describe(shown, info), *_left_fields(client, shown, info)]
        if any(attribute.get("algorithm") == "HNSW" for attribute in info["attributes"]):
            graphs.append(shown)
    findings += _workers(client, graphs)
    return findings or [Finding("index", OK, "There is none yet.")]


def describe(shown: str, info: Info) -> Finding:
    """Says how large an index is, and whether all of its documents are in it.

    Args:
        shown: its name, for people to read
        info: what :func:`replies.read_info` returned
    """
    sizes = [
        float(value)
        for field, value in info.items()
        if field.endswith(("_sz_mb", "_size_mb")) and field != "total_index_memory_sz_mb"
    ]
    text = f"{shown}: {int(info['num_docs'])} documents"
    text += f", {readable(1_048_576 * sum(sizes))}" if sizes else ""
    failures = int(info.get("hash_indexing_failures", 0))
    if failures:
        why, key = replies.read_last_failure(info)
        text += f"; indexing failed {failures} times, and no search finds what is not indexed."
        text += f" The last was {key} ({why})." if key else ""
        return Finding("index", WARNING, text, "Add those samples again, or remove their keys.")
    if int(info.get("indexing", 0)):
        return Finding("index", OK, f"{text}, still being filled.")
    return Finding("index", OK, f"{text}.")


def compare(lists: Mapping[str, Sequence[str]]) -> tuple[list[str], list[Finding]]:
    """Compares the indexes that the nodes of a cluster have.

    Args:
        lists: for each node's address, the names of its indexes

    Returns:
        the names that all nodes have, sorted, and a finding for each that some lack
    """
    names = sorted({name for found in lists.values() for name in found})
    lacking = {
        name: [where for where, found in lists.items() if name not in found] for name in names
    }
    findings = [
        Finding(
            "index",
            PROBLEM,
            f"{name}: some nodes of the cluster lack it ({some(nodes)}), so it can neither be "
            "opened nor made.",
            f"Run FT.DROPINDEX {name}, which leaves the documents, and make it again.",
        )
        for name, nodes in lacking.items()
        if nodes
    ]
    return [name for name, nodes in lacking.items() if not nodes], findings


def _names(client: Client) -> tuple[list[str], list[Finding]]:
    """Returns the names of the indexes; of those that only some nodes have, findings."""
    if not isinstance(client, redis.RedisCluster):
        return sorted(map(protocol.text, execute(client, *protocol.names()))), []
    lists = {}
    for node in primaries(client):
        try:
            lists[address(node)] = [*map(protocol.text, execute(node, *protocol.names()))]
        except AuthenticationError:
            raise
        except ConnectionFailedError:
            continue  # said at the first step
    return compare(lists)


def _shown(client: Client, name: str) -> tuple[str, bool]:
    """Returns an index's name as people know it, and whether it is what a rebuild left behind."""
    match = _PHYSICAL.fullmatch(name)
    if match is None:
        return name, False
    try:
        behind = replies.read_info(execute(client, *protocol.info(match[1])))["index_name"]
    except IndexNotFoundError:
        return name, True
    except FiftyOneRedisError:
        return name, False  # not for this user to know
    return (f"{match[1]} ({name})", False) if behind == name else (name, True)


def _leftover(name: str) -> Finding:
    text = f"{name}: no alias leads to it. An interrupted rebuild leaves such an index, and one "
    text += "that runs has it until it is done."
    advice = f"Call rebuild() or cleanup() of that run again, or FT.DROPINDEX {name}"
    return Finding("index", WARNING, text, advice)


def _left_fields(client: Client, shown: str, info: Info) -> list[Finding]:
    """Looks in some documents for vectors of another type, which an interrupted rebuild leaves."""
    try:
        schema = replies.read_schema(info)
        if schema.storage != "HASH" or not schema.is_walkable:
            return []
        ids = documents.draw(client, schema, _LOOKED_AT)[:_LOOKED_AT]
        fields = _others(schema)
        rows = [row for _, read in documents.read(client, schema, ids, fields) for row in read]
    except FiftyOneRedisError:
        return []  # it has no vectors, or this user may not look
    left = [field for at, field in enumerate(fields) if any(row[at] for row in rows)]
    if not left:
        return []
    text = f"{shown}: documents hold {some(left)}, which the index does not read; an interrupted "
    text += "change of its type leaves such fields, and one that runs has them until it is done."
    return [Finding("index", WARNING, text, "Call rebuild() or cleanup() of that run again.")]


def _others(schema: Schema) -> list[str]:
    """Returns the fields in which vectors of another type would be."""
    names = [schema.vector_name, *(f"{schema.vector_name}_{dtype}" for dtype in DTYPES)]
    return [name for name in names if name != schema.vector_field]


def _workers(client: Client, graphs: list[str]) -> list[Finding]:
    """Looks whether the server fills HNSW graphs with one thread, if it has any."""
    reply = told(client, "CONFIG", "GET", "search-workers") if graphs else None
    if replies.read_settings(reply or {}).get("search-workers") != "0":
        return []
    text = f"search-workers is 0, so one thread fills HNSW graphs ({some(graphs)}): 2 to 3 times "
    text += "slower than one for each core."
    return [Finding("index", WARNING, text, "CONFIG SET search-workers <number of cores>")]
