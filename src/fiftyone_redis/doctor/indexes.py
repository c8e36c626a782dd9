"""Checks the indexes of a server. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.doctor import algorithms
from fiftyone_redis.doctor.findings import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    Finding,
    format_bytes,
    try_execute,
)
from fiftyone_redis.engine.inventory import estimate_memory
from fiftyone_redis.engine.lifecycle.records import read_record, read_state
from fiftyone_redis.engine.protocol import aliases, commands, index_info, replies
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IncompleteResultError,
    IndexNotFoundError,
    format_count,
    list_first,
)

Info = Mapping[str, Any]


def check_indexes(client: Client, users: Mapping[str, str] | None = None) -> list[Finding]:
    """Checks every index: its documents, leftovers of rebuilds, and slow settings.

    Args:
        client: a client of the server
        users: what uses an index, by the index's name
    """
    names, findings = _list_names(client)
    graphs: list[str] = []
    for name in names:
        try:
            info = index_info.read_info(client.execute(*commands.info(name)))
            memory = estimate_memory(client, info)
        except IndexNotFoundError:
            continue  # just dropped
        except ConnectionFailedError:
            raise  # the others would time out, too
        except FiftyOneRedisError as error:
            findings.append(Finding("index", NOTE, f"{name}: {error}"))
            continue
        alias = _find_alias(client, name)
        if alias is None:
            findings.append(_report_leftover(client, name))
            continue
        known = (users or {}).get(alias, alias)
        shown = name if known == name else f"{known} ({name})"
        findings += [
            describe_index(shown, info, memory),
            *_check_leftover_fields(client, alias),
            *_advise_algorithm(shown, info),
        ]
        if any(attribute.get("algorithm") == "HNSW" for attribute in info["attributes"]):
            graphs.append(shown)
    findings += _check_workers(client, graphs)
    return findings or [Finding("index", OK, "There is none yet.")]


def _advise_algorithm(shown: str, info: Info) -> list[Finding]:
    """Advises the other algorithm for each vector field that it would clearly serve better."""
    with parsing(wire.INFO, info):
        count = int(info.get("num_docs") or 0)
        return [
            finding
            for attribute in info["attributes"]
            for finding in algorithms.advise(shown, attribute, count)
        ]


def describe_index(shown: str, info: Info, memory: int = 0) -> Finding:
    """Reports the size of an index, and whether all documents are indexed.

    Args:
        shown: its name, as users know it
        info: what :func:`replies.read_info` returned
        memory: the bytes of the index and its documents; 0 if unknown
    """
    try:
        text = f"{shown}: {format_count(index_info.read_documents(info), 'document')}"
    except IncompleteResultError as error:
        return Finding("index", NOTE, f"{shown}: {error}")
    with parsing(wire.INFO, info):
        failures, is_indexing = (
            int(info.get("hash_indexing_failures", 0)),
            int(info.get("indexing", 0)),
        )
    text += f", {format_bytes(memory)}" if memory else ""
    if failures:
        why, key = index_info.read_last_failure(info)
        text += f"; indexing failed {format_count(failures, 'time')}, and no search finds what is "
        text += "not indexed."
        text += f" The last was {key} ({why})." if key else ""
        return Finding("index", WARNING, text, "Add those samples again, or remove their keys.")
    if is_indexing:
        return Finding("index", NOTE, f"{text}. The server still indexes; searches wait for it.")
    return Finding("index", OK, f"{text}.")


def compare_nodes(lists: Mapping[str, Sequence[str]]) -> tuple[list[str], list[Finding]]:
    """Compares the indexes that the nodes of a cluster have.

    Args:
        lists: the index names of each node, by address

    Returns:
        the sorted names that all nodes have, and a finding for each name that some lack
    """
    names = sorted({name for found in lists.values() for name in found})
    lacking = {
        name: [where for where, found in lists.items() if name not in found] for name in names
    }
    findings = [
        Finding(
            "index",
            PROBLEM,
            f"{name}: some nodes of the cluster lack it ({list_first(nodes)}), so it can neither "
            "be opened nor made.",
            f"Run FT.DROPINDEX {name}, which leaves the documents, and make it again.",
        )
        for name, nodes in lacking.items()
        if nodes
    ]
    return [name for name, nodes in lacking.items() if not nodes], findings


def _list_names(client: Client) -> tuple[list[str], list[Finding]]:
    """Lists the index names that all nodes have, and findings for partial indexes."""
    if not client.is_cluster:
        return sorted(wire.read_names(client.execute(*commands.names()))), []
    lists = {}
    for node in client.list_primaries():
        try:
            lists[node.address] = wire.read_names(node.execute(*commands.names()))
        except AuthenticationError:
            raise
        except ConnectionFailedError:
            continue  # the first check reports it
    return compare_nodes(lists)


def _find_alias(client: Client, name: str) -> str | None:
    """Returns an index's alias; None if a rebuild left the index behind."""
    alias = naming.get_alias(name)
    if alias == name:
        return name
    return alias if aliases.find_index(client, alias) == name else None


def _report_leftover(client: Client, name: str) -> Finding:
    if _is_changing(client, naming.get_alias(name)):
        return Finding("index", NOTE, f"{name}: it is being built.")
    text = f"{name}: no alias leads to it. An interrupted rebuild left it behind, or a rebuild is "
    text += "still running."
    advice = "If no rebuild is running, call rebuild() or cleanup() of that run again, or "
    advice += f"run FT.DROPINDEX {name}"
    return Finding("index", WARNING, text, advice)


def _is_changing(client: Client, alias: str) -> bool:
    """Returns whether a process changes the index now, as far as this user may know."""
    try:
        return read_state(client, alias)[0]
    except AuthenticationError:
        return False


def _check_leftover_fields(client: Client, alias: str) -> list[Finding]:
    """Checks for a record of an interrupted type change, which leaves two vector fields."""
    fields = sorted(read_record(client, alias).fields)
    if not fields or _is_changing(client, alias):
        return []
    text = f"{alias}: documents may hold vectors twice (in {list_first(fields)}). A change "
    text += "of the type was interrupted, or is still running."
    advice = "If no rebuild is running, call rebuild() or cleanup() of that run again."
    return [Finding("index", WARNING, text, advice)]


def _check_workers(client: Client, graphs: list[str]) -> list[Finding]:
    """Checks whether the server builds its HNSW graphs with one thread only."""
    reply = try_execute(client, "CONFIG", "GET", "search-workers") if graphs else None
    if replies.read_settings(reply or {}).get("search-workers") != "0":
        return []
    text = f"search-workers is 0, so one thread fills HNSW graphs ({list_first(graphs)}): 2 to 3 "
    text += "times slower than one for each core."
    return [Finding("index", WARNING, text, "CONFIG SET search-workers <number of cores>")]
