"""What the server is that the tests run on, and how a test asks for what it needs of it.

A test says `@pytest.mark.needs("json", "engine>=8")`, and is skipped, with the reason, on a server
that lacks it. Whatever says nothing runs on every supported server.
"""

import operator
import re
from dataclasses import dataclass

import redis

from fiftyone_redis import server
from fiftyone_redis.connection.client import Client
from fiftyone_redis.errors import FiftyOneRedisError

FEATURES = {
    "json": "RedisJSON",
    "svs": "SVS-VAMANA",
    "int8": "vectors of int8",
    "tls": "TLS",
    "coordinator": "a coordinator in its query engine",
    "socket": "a socket on this machine",
    "bare": "a program that also runs without its query engine",
}

_COMPARE = {"<": operator.lt, ">=": operator.ge, "==": operator.eq}
_PROBE = "server-under-test-probe"


@dataclass(frozen=True)
class ServerUnderTest:
    """What the server can do that not every supported one can.

    Args:
        server: name and version, for the reasons of skipped tests
        engine: the version of its query engine
        json: whether it has RedisJSON
        svs: whether it makes SVS-VAMANA indexes
        int8: whether it holds vectors of int8 and uint8
        tls: whether it was built with TLS
        coordinator: whether its query engine searches all nodes of a cluster
        clustered: whether it is a node of a cluster
        socket: whether it listens on a socket of this machine
        bare: whether its query engine is a module, without which its program runs, too
    """

    server: str
    engine: tuple[int, ...]
    json: bool
    svs: bool
    int8: bool
    tls: bool
    coordinator: bool
    clustered: bool
    socket: bool
    bare: bool

    def lacks(self, need: str) -> str | None:
        """Returns why a test with a need cannot run here; None if it can.

        Args:
            need: one of `FEATURES`; one of them after "no "; or "engine", one of <, >= and ==, and
                a version

        Raises:
            ValueError: if there is no such need
        """
        if version := re.fullmatch(r"engine(<|>=|==)(\d+(?:\.\d+)*)", need):
            wanted = tuple(map(int, version[2].split(".")))
            met = _COMPARE[version[1]](self.engine[: len(wanted)], wanted)
            return None if met else f"needs {need}, but this is {self.server}"
        feature = need.removeprefix("no ")
        if feature not in FEATURES:
            raise ValueError(f"Nothing is known of the need {need!r}: use {', '.join(FEATURES)}.")
        if getattr(self, feature) == (feature == need):
            return None
        has = "has" if feature != need else "does not have"
        return f"{self.server} {has} {FEATURES[feature]}"


def describe(client: Client) -> ServerUnderTest:
    """Asks a server, or a cluster, what it is; makes and drops indexes to find out."""
    found, node = client.get_capabilities(), client.list_primaries()[0]
    modules = str(node.execute_command("MODULE", "LIST")).lower()
    return ServerUnderTest(
        server=str(found),
        engine=tuple(map(int, found.search.split("."))),
        json="rejson" in modules,
        svs=_can_make(client, "SVS-VAMANA", "FLOAT32"),
        int8=_can_make(client, "FLAT", "INT8"),
        tls=bool(node.config_get("tls-port")),
        coordinator=found.coordinator,
        clustered=found.clustered,
        socket="path" in node.connection_pool.connection_kwargs,
        bare=bool(server.find_program().modules),
    )


def set_search_limit(client: redis.Redis, name: str, value: object) -> str:
    """Sets a limit of the query engine, and returns what it was.

    Redis 8 has these limits among its own settings, and FT.CONFIG not on all servers; older query
    engines have FT.CONFIG only.

    Args:
        client: a client of one server, whose replies are bytes
        name: as in Redis 8, without "search-": "max-search-results", "on-timeout"
        value: the new value, as Redis 8 writes it
    """
    setting = f"search-{name}"
    if usual := client.config_get(setting):
        client.config_set(setting, value)
        return _text(usual.get(setting) or usual[setting.encode()])
    old = {"max-search-results": "MAXSEARCHRESULTS", "on-timeout": "ON_TIMEOUT"}[name]
    [usual] = dict(client.execute_command("FT.CONFIG", "GET", old)).values()
    client.execute_command("FT.CONFIG", "SET", old, value)
    return _text(usual)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _can_make(client: Client, algorithm: str, dtype: str) -> bool:
    vector = ("VECTOR", algorithm, 6, "TYPE", dtype, "DIM", 4, "DISTANCE_METRIC", "L2")
    try:
        client.execute("FT.CREATE", _PROBE, "PREFIX", 1, f"{_PROBE}:", "SCHEMA", "v", *vector)
    except FiftyOneRedisError:
        return False
    client.execute("FT.DROPINDEX", _PROBE)
    return True
