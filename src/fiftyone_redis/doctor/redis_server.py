"""Checks a Redis server: latency, TLS, memory, persistence, limits and indexes.

Read-only. What the server does not report, or not to this user, becomes a note.
"""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import redis

from fiftyone_redis.connection.capabilities import check_server
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.doctor import cluster
from fiftyone_redis.doctor.findings import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    Finding,
    format_bytes,
    try_execute,
)
from fiftyone_redis.doctor.indexes import check_indexes
from fiftyone_redis.engine.index import QUERY_TIMEOUT
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.engine.protocol.replies import read_settings, read_warnings
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    UnsupportedServerError,
)

__all__ = ["NOTE", "OK", "PROBLEM", "WARNING", "Finding", "examine"]

_PATIENCE_SECONDS = 3.0  # a shard that just came back is not queried for 2 s
_ROUND_TRIPS = 5
_FAR_MS = 50.0
_FEW_RESULTS = 1000
_NEARLY_FULL = 0.9
# The settings for the most results and the time limit (ms) of a search.
_SINCE_8 = ("search-max-search-results", "search-timeout")
_BEFORE_8 = ("MAXSEARCHRESULTS", "TIMEOUT")
Steps = Mapping[str, Callable[[Client], list[Finding]]]

_LOCAL = ("localhost", "127.0.0.1", "::1")


def examine(client: Client, users: Mapping[str, str] | None = None) -> list[Finding]:
    """Checks a client's server, or all nodes of its cluster.

    An incomplete cluster is reported within seconds, whatever the client's ``retry_timeout``; its
    query engine is not queried then, since it would not answer.

    Args:
        client: a client from :func:`~fiftyone_redis.connection.client.connect`
        users: what uses an index, by the index's name

    Returns:
        the findings, in the order of the checks; ends early if the server, or the last node of
        the cluster, is lost
    """
    nodes = client.list_primaries()
    several = len(nodes) > 1
    findings = _run_node_steps(("connection", "tls"), nodes, several)
    if not nodes:
        return findings
    try:
        client.get_capabilities()  # those of the brief client, too
        with client.limit_retries(_PATIENCE_SECONDS) as brief:
            return findings + _run_remaining_steps(brief, nodes, several, users)
    except ConnectionFailedError as error:
        return [*findings, Finding("server", PROBLEM, str(error))]


def _run_remaining_steps(
    client: Client, nodes: list[Server], several: bool, users: Mapping[str, str] | None
) -> list[Finding]:
    """Runs all checks but the first two."""
    first: Steps = {"server": _check_server, "cluster": cluster.check_shards}
    findings, answers = _run_client_steps(first, client)
    if not answers:
        return findings
    is_broken = any((each.step, each.status) == ("cluster", PROBLEM) for each in findings)
    findings += _run_node_steps(("memory", "persistence"), nodes, several)
    if is_broken:
        text = "Limits and indexes were not looked at: the query engine answers from a whole "
        text += "cluster only."
        return [*findings, Finding("index", NOTE, text)]
    if not nodes:
        return findings
    last: Steps = {"limits": _check_limits, "index": partial(check_indexes, users=users)}
    return findings + _run_client_steps(last, client)[0]


def _run_client_steps(steps: Steps, client: Client) -> tuple[list[Finding], bool]:
    """Runs checks until the server is lost; returns the findings, and whether it answers."""
    findings: list[Finding] = []
    for step, check in steps.items():
        found, answers = _run_step(step, check, client)
        findings += found
        if not answers:
            return findings, False
    return findings, True


def _run_node_steps(steps: Sequence[str], nodes: list[Server], several: bool) -> list[Finding]:
    """Runs checks on each node, and removes lost nodes from the list."""
    findings: list[Finding] = []
    for step in steps:
        for node in list(nodes):
            found, answers = _run_step(step, _NODE_STEPS[step], node)
            findings += (
                [_prefix_address(node, each) for each in found] if several and answers else found
            )
            if not answers:
                nodes.remove(node)
    return findings


def _run_step(
    step: str, look: Callable[[Any], list[Finding]], at: Any
) -> tuple[list[Finding], bool]:
    """Runs one check; returns the findings, and whether the server answers."""
    try:
        with parsing(f"the commands of the check {step!r}"):
            return look(at), True
    except AuthenticationError as error:
        return [Finding(step, NOTE, f"This user may not see it ({error})")], True
    except ConnectionFailedError as error:
        return [Finding(step, PROBLEM, str(error))], False
    except FiftyOneRedisError as error:
        return [Finding(step, NOTE, f"The server does not report it ({error})")], True


def _prefix_address(node: Server, finding: Finding) -> Finding:
    return replace(finding, text=f"{node.address}: {finding.text}")


def _check_round_trip(client: Server) -> list[Finding]:
    times = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        client.execute("ECHO", "")
        times.append(1000 * (time.perf_counter() - start))
    took = statistics.median(times)
    text = f"{client.address} answers in {took:.1f} ms."
    if took < _FAR_MS:
        return [Finding("connection", OK, text)]
    advice = "Every search takes at least that long; run Redis nearer to FiftyOne."
    return [Finding("connection", WARNING, text, advice)]


def _check_tls(client: Server) -> list[Finding]:
    pool = client.connection_pool
    options = pool.connection_kwargs
    if issubclass(pool.connection_class, redis.SSLConnection):
        with translate_errors(client.address), borrow_connection(client) as connection:
            sock = getattr(connection, "_sock", None)
        version = sock.version() if isinstance(sock, ssl.SSLSocket) else "TLS"
        if options.get("ssl_cert_reqs") in ("none", ssl.CERT_NONE):
            text = f"{version}, but anybody can pose as the server: its certificate is not checked."
            return [Finding("tls", WARNING, text, "Take ssl_cert_reqs=none out of the url.")]
        return [Finding("tls", OK, f"{version}, and the server's certificate is checked.")]
    if "path" in options or options.get("host") in _LOCAL:
        return [Finding("tls", OK, "Off; the server is on this machine.")]
    text = "Off: the password and the vectors can be read on their way."
    return [Finding("tls", WARNING, text, "Set ssl, or rediss:// in the url, if the server can.")]


def _check_server(client: Client) -> list[Finding]:
    try:
        text = f"{check_server(client.get_capabilities())}."
    except UnsupportedServerError as error:
        return [Finding("server", PROBLEM, str(error))]
    replication = try_execute(client, "INFO", "replication")
    if replication is not None and replication.get("role") == "slave":
        text = f"{text} It is a replica, which takes no writes."
        return [Finding("server", PROBLEM, text, "Connect to its primary.")]
    return [Finding("server", OK, text)]


def _check_memory(client: Server) -> list[Finding]:
    info = client.execute("INFO", "memory")
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    policy = info.get("maxmemory_policy", "noeviction")
    if not limit:
        machine = int(info.get("total_system_memory", 0))
        of = f" of the machine's {format_bytes(machine)}" if machine else ""
        return [Finding("memory", OK, f"{format_bytes(used)}{of}, without a limit of its own.")]
    text = f"{format_bytes(used)} of at most {format_bytes(limit)}, {policy}"
    counted = used - int(info.get("mem_not_counted_for_evict", 0))
    if policy.startswith("allkeys"):
        # The volatile policies take only keys that expire, which documents do not.
        text += ": when it is full, Redis silently drops vectors."
        return [Finding("memory", WARNING, text, "CONFIG SET maxmemory-policy noeviction")]
    if counted >= limit:
        advice = (
            "Raise maxmemory, or remove data; until then nothing can be added, and on Redis 8 "
            "searches fail as well."
        )
        return [Finding("memory", PROBLEM, f"{text}: it is full.", advice)]
    if counted >= _NEARLY_FULL * limit:
        return [Finding("memory", WARNING, f"{text}: nearly full.", "Raise maxmemory.")]
    return [Finding("memory", OK, f"{text}.")]


def _check_persistence(client: Server) -> list[Finding]:
    info = client.execute("INFO", "persistence")
    log, snapshots = bool(int(info.get("aof_enabled", 0))), _fetch_snapshot_setting(client)
    ways = ["a log (appendonly)"] if log else []
    ways += [f"snapshots (save {snapshots})"] if snapshots else []
    if log and info.get("aof_last_write_status") == "err":
        text = "The server cannot write its log, and accepts no writes until it can."
        return [Finding("persistence", PROBLEM, text, "Check whether its disk is full.")]
    if snapshots and info.get("rdb_last_bgsave_status") == "err":
        text = "The last snapshot failed; by default Redis accepts no writes until one succeeds."
        return [Finding("persistence", PROBLEM, text, "Check its disk and its log.")]
    if ways:
        return [Finding("persistence", OK, f"What is added is saved by {' and '.join(ways)}.")]
    if snapshots is None:
        return [
            Finding("persistence", NOTE, "The server does not report whether it saves anything.")
        ]
    text = "Nothing is saved: when Redis is restarted, the vectors are gone."
    advice = "CONFIG SET appendonly yes, and the same in redis.conf"
    return [Finding("persistence", WARNING, text, advice)]


def _fetch_snapshot_setting(client: Server) -> str | None:
    """Fetches when the server saves snapshots; empty for never, None if not reported."""
    reply = try_execute(client, "CONFIG", "GET", "save")
    return None if reply is None else read_settings(reply).get("save", "")


def _check_limits(client: Client) -> list[Finding]:
    if not client.get_capabilities().search:
        return []
    since_8 = try_execute(client, "CONFIG", "GET", "search-*")
    asked = (
        [since_8]
        if since_8
        else [try_execute(client, *commands.setting(name)) for name in _BEFORE_8]
    )
    known = {
        name: value for reply in asked if reply for name, value in read_settings(reply).items()
    }
    results, timeout = _SINCE_8 if since_8 else _BEFORE_8
    if results not in known or timeout not in known:
        return [Finding("limits", NOTE, "The server does not report its limits.")]
    text = f"At most {known[results]} results of a search ({results})"
    if known[results].isdecimal() and int(known[results]) < _FEW_RESULTS:
        text += "; for more, all vectors are read and compared here."
        how = "with CONFIG SET" if since_8 else "with FT.CONFIG SET"
        advice = f"Allow more {how} {results} 1000000."
        finding = Finding("limits", WARNING, text, advice)
    else:
        finding = Finding("limits", OK, f"{text}.")
    return [
        finding,
        _check_time_limit(client, known[timeout])
        if since_8
        else _report_query_timeout(known[timeout]),
    ]


def _report_query_timeout(timeout: str) -> Finding:
    text = f"{QUERY_TIMEOUT:g} s for a query; the server's own {timeout} ms do not count."
    return Finding("limits", OK, text)


def _check_time_limit(client: Client, timeout: str) -> Finding:
    """Runs a query to see whether the server caps its time limit; the reply warns of it."""
    for name in wire.read_names(try_execute(client, *commands.names()) or ()):
        command = commands.count(name, timeout_ms=round(1000 * QUERY_TIMEOUT))
        notes = [note for note in read_warnings(try_execute(client, *command)) if "capped" in note]
        if notes:
            text = f"A query gets less than {QUERY_TIMEOUT:g} s: {notes[0]}."
            advice = "Have that limit raised if searches are cut short."
            return Finding("limits", WARNING, text, advice)
        break
    return _report_query_timeout(timeout)


_NODE_STEPS: dict[str, Callable[[Server], list[Finding]]] = {
    "connection": _check_round_trip,
    "tls": _check_tls,
    "memory": _check_memory,
    "persistence": _check_persistence,
}
