"""What a server that is to hold vectors is like, and what to do about it.

Only what is asked for is read; nothing is changed. What a server does not tell, or not to this
user, is a note.
"""

from __future__ import annotations

import ssl
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import redis

from fiftyone_redis.engine import protocol, replies
from fiftyone_redis.engine.capabilities import capabilities, check_server
from fiftyone_redis.engine.cluster import Client, primaries
from fiftyone_redis.engine.connection import address, execute
from fiftyone_redis.engine.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    ServerError,
    UnsupportedServerError,
    mapped,
)
from fiftyone_redis.engine.index import QUERY_TIMEOUT
from fiftyone_redis.engine.pool import borrowed

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
"""It is as it should be; it could not be found out; it works but may harm; it does not work."""

_ROUND_TRIPS = 5
_FAR_MS = 50.0
_FEW_RESULTS = 1000
_NEARLY_FULL = 0.9
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        step: what was looked at, in a word
        status: :data:`OK`, :data:`NOTE`, :data:`WARNING` or :data:`PROBLEM`
        text: what was found
        advice: what to do about it; empty if nothing is to be done, or the text says it
    """

    step: str
    status: str
    text: str
    advice: str = ""


def examine(client: Client) -> list[Finding]:
    """Looks at the server of a client.

    Args:
        client: a client from :func:`~fiftyone_redis.engine.connection.connect`, or another one

    Returns:
        the findings, in the order of the steps; those up to the one at which the server was lost
    """
    findings: list[Finding] = []
    for step in _STEPS:
        try:
            findings += _looked(client, step)
        except AuthenticationError as error:
            findings.append(Finding(step, NOTE, f"This user is not told ({error})"))
        except ConnectionFailedError as error:
            return [*findings, Finding(step, PROBLEM, str(error))]
        except FiftyOneRedisError as error:
            findings.append(Finding(step, NOTE, f"The server does not tell ({error})"))
    return findings


def _looked(client: Client, step: str) -> list[Finding]:
    """Takes a step; on each of the nodes, where they may differ."""
    if step in _STEPS_OF_ALL:
        return _STEPS_OF_ALL[step](client)
    nodes = primaries(client)
    if len(nodes) == 1:
        return _STEPS_OF_ONE[step](nodes[0])
    return [
        replace(finding, text=f"{address(node)}: {finding.text}")
        for node in nodes
        for finding in _STEPS_OF_ONE[step](node)
    ]


def _round_trip(client: redis.Redis) -> list[Finding]:
    times = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        execute(client, "ECHO", "")
        times.append(1000 * (time.perf_counter() - start))
    took = statistics.median(times)
    text = f"{address(client)} answers in {took:.1f} ms."
    if took < _FAR_MS:
        return [Finding("connection", OK, text)]
    advice = "Every search takes at least that long; run Redis nearer to FiftyOne."
    return [Finding("connection", WARNING, text, advice)]


def _tls(client: redis.Redis) -> list[Finding]:
    pool = client.connection_pool
    options = pool.connection_kwargs
    if issubclass(pool.connection_class, redis.SSLConnection):
        with mapped(address(client)), borrowed(client) as connection:
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


def _server(client: Client) -> list[Finding]:
    try:
        text = f"{check_server(client)}."
    except UnsupportedServerError as error:
        return [Finding("server", PROBLEM, str(error))]
    replication = _told(client, "INFO", "replication")
    if replication is not None and replication.get("role") == "slave":
        text = f"{text} It is a replica, which takes no writes."
        return [Finding("server", PROBLEM, text, "Connect to its primary.")]
    return [Finding("server", OK, text)]


def _memory(client: redis.Redis) -> list[Finding]:
    info = execute(client, "INFO", "memory")
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    policy = info.get("maxmemory_policy", "noeviction")
    if not limit:
        machine = int(info.get("total_system_memory", 0))
        of = f" of the machine's {_size(machine)}" if machine else ""
        return [Finding("memory", OK, f"{_size(used)}{of}, without a limit of its own.")]
    text = f"{_size(used)} of at most {_size(limit)}, {policy}"
    counted = used - int(info.get("mem_not_counted_for_evict", 0))
    if policy.startswith("allkeys"):
        # The volatile policies take only keys that expire, which documents do not.
        text += ": when it is full, vectors are dropped without a word."
        return [Finding("memory", WARNING, text, "CONFIG SET maxmemory-policy noeviction")]
    if counted >= limit:
        advice = "Raise maxmemory, or remove data; nothing can be added."
        return [Finding("memory", PROBLEM, f"{text}: it is full.", advice)]
    if counted >= _NEARLY_FULL * limit:
        return [Finding("memory", WARNING, f"{text}: nearly full.", "Raise maxmemory.")]
    return [Finding("memory", OK, f"{text}.")]


def _persistence(client: redis.Redis) -> list[Finding]:
    info = execute(client, "INFO", "persistence")
    log, snapshots = bool(int(info.get("aof_enabled", 0))), _snapshots(client)
    ways = ["a log (appendonly)"] if log else []
    ways += [f"snapshots (save {snapshots})"] if snapshots else []
    if log and info.get("aof_last_write_status") == "err":
        text = "It cannot write its log, and takes nothing new until it can."
        return [Finding("persistence", PROBLEM, text, "Look whether its disk is full.")]
    if snapshots and info.get("rdb_last_bgsave_status") == "err":
        text = "The last snapshot failed; by default Redis takes nothing new until one succeeds."
        return [Finding("persistence", PROBLEM, text, "Look at its disk, and at its log.")]
    if ways:
        return [Finding("persistence", OK, f"What is added is saved by {' and '.join(ways)}.")]
    if snapshots is None:
        return [Finding("persistence", NOTE, "The server does not tell whether it saves anything.")]
    text = "Nothing is saved: when Redis is restarted, the vectors are gone."
    advice = "CONFIG SET appendonly yes, and the same in redis.conf"
    return [Finding("persistence", WARNING, text, advice)]


def _snapshots(client: redis.Redis) -> str | None:
    """Returns when the server makes snapshots; empty for never, None if it does not tell."""
    told = _told(client, "CONFIG", "GET", "save")
    return None if told is None else replies.read_setting(told)


def _told(client: Client, *command: str) -> Any:
    """Returns a reply; None if the server refuses the command."""
    try:
        return execute(client, *command)
    except (AuthenticationError, ServerError):
        return None


def _limits(client: Client) -> list[Finding]:
    if not capabilities(client).search:
        return []
    most = replies.read_setting(execute(client, *protocol.setting("MAXSEARCHRESULTS")))
    timeout = replies.read_setting(execute(client, *protocol.setting("TIMEOUT")))
    findings = []
    text = f"At most {most} results of a search (MAXSEARCHRESULTS)"
    if most is not None and most.isdecimal() and int(most) < _FEW_RESULTS:
        text += "; for more, all vectors are read and compared here."
        advice = "Allow more with FT.CONFIG SET MAXSEARCHRESULTS 1000000."
        findings.append(Finding("limits", WARNING, text, advice))
    else:
        findings.append(Finding("limits", OK, f"{text}."))
    text = f"{QUERY_TIMEOUT:g} s for a query; the server's own {timeout} ms do not count."
    return [*findings, Finding("limits", OK, text)]


def _indexes(client: Client) -> list[Finding]:
    if not capabilities(client).search:
        return []
    names = sorted(protocol.text(name) for name in execute(client, *protocol.names()))
    findings = [_index(client, name) for name in names]
    return findings or [Finding("index", OK, "There is none yet.")]


def _index(client: Client, name: str) -> Finding:
    try:
        info = replies.read_info(execute(client, *protocol.info(name)))
    except FiftyOneRedisError as error:
        return Finding("index", NOTE, f"{name}: {error}")
    sizes = [
        float(value)
        for field, value in info.items()
        if field.endswith(("_sz_mb", "_size_mb")) and field != "total_index_memory_sz_mb"
    ]
    text = f"{name}: {int(info['num_docs'])} documents"
    text += f", {_size(1_048_576 * sum(sizes))}" if sizes else ""
    failures = int(info.get("hash_indexing_failures", 0))
    if failures:
        why, key = replies.read_last_failure(info)
        text += f"; indexing failed {failures} times, and no search finds what is not indexed."
        text += f" The last was {key} ({why})." if key else ""
        return Finding("index", WARNING, text, "Add those samples again, or remove their keys.")
    if int(info.get("indexing", 0)):
        return Finding("index", OK, f"{text}, still being filled.")
    return Finding("index", OK, f"{text}.")


def _size(count: float) -> str:
    """Returns a number of bytes for people to read."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


_STEPS = ("connection", "tls", "server", "memory", "persistence", "limits", "index")

_STEPS_OF_ONE: dict[str, Callable[[redis.Redis], list[Finding]]] = {
    "connection": _round_trip,
    "tls": _tls,
    "memory": _memory,
    "persistence": _persistence,
}
_STEPS_OF_ALL: dict[str, Callable[[Client], list[Finding]]] = {
    "server": _server,
    "limits": _limits,
    "index": _indexes,
}
