"""What a server can do: asked once per client, and kept as one small value.

Nothing else in the package asks for versions. A server says who it is in its reply to HELLO, which
needs no rights; only where that leaves something open are MODULE LIST, COMMAND INFO and INFO asked
too, together.

What each version knows is in https://redis.io/docs/latest/develop/ai/search-and-query/vectors/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import redis

from fiftyone_redis.connection.pool import read_address
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.wire import COORDINATOR, SEARCH
from fiftyone_redis.errors import UnsupportedServerError

UNKNOWN = "unknown"
"""The name or version of what does not say it."""

Version = tuple[int, ...]

_MODULES = ("search", "searchlight")  # the latter is the query engine of managed services

# Since which version the query engine knows a type or algorithm.
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
        server: its name, "redis" for instance
        version: its version
        search: its query engine's version; empty if it has none, "unknown" if it does not say
        resp: the version of the protocol that the client speaks with it
        clustered: whether it is a node of a cluster
        coordinator: whether its query engine is known to answer for all nodes of a cluster
        dtypes: the types in which it can hold vectors
        algorithms: the algorithms by which its version can search
        svs: whether it was built with SVS-VAMANA; None if that was not tried
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


_cache: WeakKeyDictionary[Any, Capabilities] = WeakKeyDictionary()


def fetch_capabilities(client: Any) -> Capabilities:
    """Returns what a client's server can do; asks it at the first call.

    Args:
        client: a :class:`redis.Redis`, or a :class:`redis.RedisCluster`, whose nodes are taken to
            be alike

    Raises:
        FiftyOneRedisError: if the server does not answer
    """
    if client not in _cache:
        with translate_errors(read_address(pick_node(client).connection_pool.connection_kwargs)):
            fetch_untranslated(client)
    return _cache[client]


def fetch_untranslated(client: Any) -> Capabilities:
    """Does what :func:`capabilities` does, but lets redis-py's exceptions pass."""
    known = _cache.get(client)
    if known is None:
        known = _cache[client] = _fetch(pick_node(client))
    return known


def cache_capabilities(client: Any, found: Capabilities) -> None:
    """Keeps what a client's server can do, as learnt from another client of the same server."""
    _cache[client] = found


def check_server(client: Any) -> Capabilities:
    """Returns what a client's server can do, if it can be searched at all.

    Raises:
        UnsupportedServerError: if it has no query engine, or one that is not RediSearch, or is a
            node of a cluster whose query engine answers for that node alone
        FiftyOneRedisError: if the server does not answer
    """
    found = fetch_capabilities(client)
    if not found.search:
        raise UnsupportedServerError(
            f"This server ({found}) cannot search; use Redis 8, Redis Stack or a private one."
        )
    if not _is_redisearch(found):
        what = "does not tell the version of its search module"
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


def parse_replies(
    hello: Mapping[str, Any] | None,
    modules: Any = None,
    commands: Any = None,
    info: Mapping[str, Any] | None = None,
) -> Capabilities:
    """Reads what a server said of itself.

    Args:
        hello: its reply to HELLO, as text; None if it refused
        modules: its reply to MODULE LIST, undecoded; None if it was not asked, or refused
        commands: its reply to COMMAND INFO about FT.SEARCH and SEARCH.CLUSTERINFO, likewise
        info: its reply to INFO about the server, likewise
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
        # The open-source query engine has had it since Redis 8.
        coordinator=coordinates or engine >= (8,),
        dtypes=_supported_by(_DTYPES, engine),
        algorithms=_supported_by(_ALGORITHMS, engine),
    )


def record_svs(client: Any, has_svs: bool) -> Capabilities:
    """Notes whether a client's server was built with SVS-VAMANA, which only trying tells."""
    found = _cache[client] = replace(_cache[client], svs=has_svs)
    return found


def pick_node(client: Any) -> redis.Redis:
    """Returns a client of one node of a client's cluster; for one server, the client itself."""
    if isinstance(client, redis.RedisCluster):
        node: redis.Redis = client.get_redis_connection(client.get_default_node())
        return node
    known: redis.Redis = client
    return known


def _fetch(client: redis.Redis) -> Capabilities:
    hello = _fetch_hello(client)
    found = parse_replies(hello)
    told = found.search not in ("", UNKNOWN) and (found.coordinator or not found.clustered)
    return found if told else parse_replies(hello, *_fetch_details(client))


def _fetch_hello(client: redis.Redis) -> dict[str, Any] | None:
    try:
        return _to_dict(client.execute_command("HELLO"))
    except redis.ResponseError:
        return None  # an old server, or a proxy in front of one, does not know it


def _fetch_details(client: redis.Redis) -> list[Any]:
    """Asks what HELLO left open; None for each reply that the server refuses."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("MODULE", "LIST")
    pipeline.execute_command("COMMAND INFO", SEARCH, COORDINATOR)
    pipeline.execute_command("INFO", "server")
    replies = pipeline.execute(raise_on_error=False)
    return [None if isinstance(reply, redis.RedisError) else reply for reply in replies]


def _read_engine_version(modules: Any) -> Version:
    """Reads the query engine's version, 21005 for 2.10.5; empty if it is not among the modules."""
    versions = {module["name"]: int(module["ver"]) for module in map(_to_dict, modules)}
    number = next((versions[name] for name in _MODULES if name in versions), None)
    return () if number is None else (number // 10_000, number // 100 % 100, number % 100)


def _is_redisearch(found: Capabilities) -> bool:
    """Returns whether a query engine is known to be RediSearch, which went from 2.x to 7.9."""
    if found.search == UNKNOWN or found.server == "valkey":
        return False
    version = tuple(map(int, found.search.split(".")))
    return (2, 4) <= version < (3,) or version >= (7, 9)


def _supported_by(known: Mapping[str, Version], version: Version) -> tuple[str, ...]:
    return tuple(name for name, first in known.items() if version >= first)


def _to_dict(reply: Any) -> dict[str, Any]:
    """Reads a map, which is flat in RESP2, with its names and values as text where they are."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_to_text(name): _to_text(value) for name, value in pairs}


def _to_text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
