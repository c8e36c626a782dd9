"""What a server can do: fetched once per client, and cached.

No other module reads versions. The reply to HELLO names the server and needs no permissions. If
that reply is not enough, one pipeline sends MODULE LIST, COMMAND INFO and INFO.

For the features of each version, see https://redis.io/docs/latest/develop/ai/search-and-query/vectors/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from fiftyone_redis.connection.protocol.parsing import parses, parsing
from fiftyone_redis.connection.protocol.wire import COORDINATOR, SEARCH
from fiftyone_redis.errors import UnsupportedServerError

UNKNOWN = "unknown"
"""Stands for a name or version that the server does not report."""

Version = tuple[int, ...]

_MODULES = ("search", "searchlight")  # "searchlight" is the query engine of managed services

# The query engine version that introduced each type and algorithm.
_DTYPES: Mapping[str, Version] = {
    "float32": (2, 4),
    "float64": (2, 6),
    "float16": (2, 10),
    "bfloat16": (2, 10),
    "int8": (2, 12),
    "uint8": (2, 12),
}
_ALGORITHMS: Mapping[str, Version] = {"FLAT": (2, 4), "HNSW": (2, 4), "SVS-VAMANA": (8, 2)}


@dataclass(frozen=True)
class Capabilities:
    """What a server can do.

    Args:
        server: its name, such as "redis"
        version: its version
        search: its query engine's version; empty if it has none, "unknown" if not reported
        resp: the RESP version of the connection
        clustered: whether it is a cluster node
        coordinator: whether its query engine searches all nodes of a cluster
        dtypes: the vector types that it supports
        algorithms: the index algorithms that its version supports
        svs: whether it was built with SVS-VAMANA; None if not tested yet
    """

    server: str
    version: str
    search: str
    resp: int
    clustered: bool
    coordinator: bool
    dtypes: tuple[str, ...]
    algorithms: tuple[str, ...]
    svs: bool | None = None

    def __str__(self) -> str:
        engine = f"search {self.search}" if self.search else "no query engine"
        mode = "cluster" if self.clustered else "standalone"
        if self.clustered and not self.coordinator:
            mode += " without coordinator"
        return f"{self.server.capitalize()} {self.version}, {engine}, RESP{self.resp}, {mode}"


def check_server(found: Capabilities) -> Capabilities:
    """Returns a server's capabilities; raises if the server cannot search.

    Raises:
        UnsupportedServerError: if it has no query engine, or one that is not RediSearch, or is a
            cluster node whose query engine searches that node only
    """
    if not found.search:
        raise UnsupportedServerError(
            f"This server ({found}) cannot search; use Redis 8, Redis Stack or a private one."
        )
    if not _is_redisearch(found):
        what = "does not report the version of its search module"
        if found.search != UNKNOWN:
            what = "has a search module that is not RediSearch"
        raise UnsupportedServerError(
            f"This server ({found}) {what}; use Redis 8, Redis Stack or a private one."
        )
    if found.clustered and not found.coordinator:
        raise UnsupportedServerError(
            f"This server ({found}) would search one node's documents only; use a cluster of "
            "Redis 8, Redis Enterprise or Redis Cloud, or a server that is no cluster."
        )
    return found


@parses("HELLO, MODULE LIST, COMMAND INFO or INFO")
def parse_replies(
    hello: Mapping[str, Any] | None,
    modules: Any = None,
    commands: Any = None,
    info: Mapping[str, Any] | None = None,
) -> Capabilities:
    """Parses replies that describe a server.

    Args:
        hello: the reply to HELLO, as text; None if refused
        modules: the reply to MODULE LIST, undecoded; None if not sent, or refused
        commands: the reply to COMMAND INFO for FT.SEARCH and SEARCH.CLUSTERINFO, likewise
        info: the reply to INFO server, likewise
    """
    hello, info = hello or {}, info or {}
    unnamed = "redis" if info else UNKNOWN
    server = str(hello.get("server") or info.get("server_name") or unnamed)
    version = hello.get("version") or info.get(f"{server}_version") or UNKNOWN
    mode = hello.get("mode") or info.get("server_mode") or info.get("redis_mode")
    knows_search, coordinates = [entry is not None for entry in commands or (None, None)]
    engine = _read_engine_version(hello.get("modules") or modules or ())
    hidden = knows_search or (commands is None and modules is None)
    return Capabilities(
        server=server,
        version=str(version),
        search=UNKNOWN if not engine and hidden else ".".join(map(str, engine)),
        resp=int(hello.get("proto", 2)),
        clustered=mode == "cluster",
        # The open-source query engine has a coordinator since Redis 8.
        coordinator=coordinates or engine >= (8,),
        dtypes=_supported_by(_DTYPES, engine),
        algorithms=_supported_by(_ALGORITHMS, engine),
    )


def fetch(client: redis.Redis) -> Capabilities:
    """Fetches what a server can do.

    Args:
        client: a client of one server or cluster node

    Raises:
        redis.RedisError: if it does not answer
    """
    with parsing("HELLO, MODULE LIST, COMMAND INFO or INFO"):
        hello = _fetch_hello(client)
        found = parse_replies(hello)
        is_enough = found.search not in ("", UNKNOWN) and (found.coordinator or not found.clustered)
        return found if is_enough else parse_replies(hello, *_fetch_details(client))


def _fetch_hello(client: redis.Redis) -> dict[str, Any] | None:
    try:
        return _to_dict(client.execute_command("HELLO"))
    except redis.ResponseError:
        return None  # old servers and some proxies lack HELLO


def _fetch_details(client: redis.Redis) -> list[Any]:
    """Sends the other commands that describe a server; returns None for refused ones."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("MODULE", "LIST")
    pipeline.execute_command("COMMAND INFO", SEARCH, COORDINATOR)
    pipeline.execute_command("INFO", "server")
    replies = pipeline.execute(raise_on_error=False)
    return [None if isinstance(reply, redis.RedisError) else reply for reply in replies]


def _read_engine_version(modules: Any) -> Version:
    """Reads the query engine's version (21005 is 2.10.5); empty if it is not loaded."""
    versions = {module["name"]: int(module["ver"]) for module in map(_to_dict, modules)}
    number = next((versions[name] for name in _MODULES if name in versions), None)
    return () if number is None else (number // 10_000, number // 100 % 100, number % 100)


def _is_redisearch(found: Capabilities) -> bool:
    """Returns whether the query engine is RediSearch, whose versions jump from 2.x to 7.9."""
    if found.search == UNKNOWN or found.server == "valkey":
        return False
    version = tuple(map(int, found.search.split(".")))
    return (2, 4) <= version < (3,) or version >= (7, 9)


def _supported_by(known: Mapping[str, Version], version: Version) -> tuple[str, ...]:
    return tuple(name for name, first in known.items() if version >= first)


def _to_dict(reply: Any) -> dict[str, Any]:
    """Converts a map (a flat list in RESP2) to a dictionary; decodes names and values."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_to_text(name): _to_text(value) for name, value in pairs}


def _to_text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
