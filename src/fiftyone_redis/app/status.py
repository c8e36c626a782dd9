"""The status of the server: its address, version, memory and problems."""

from __future__ import annotations

from dataclasses import dataclass

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.secret import Login
from fiftyone_redis.doctor import redis_server
from fiftyone_redis.doctor.findings import format_bytes
from fiftyone_redis.errors import AuthenticationError


@dataclass(frozen=True)
class ServerStatus:
    """The description of a server, for the panel. No secrets.

    Args:
        address: its host and port, or the path of its socket
        login: the user, and whether there is a password
        version: the version of Redis, and of the query engine if it is a module
        memory: used memory and limit
        problems: what is wrong and what to do, one text each
    """

    address: str
    login: str
    version: str
    memory: str
    problems: list[str]


def fetch_status(client: Client) -> ServerStatus:
    """Reads the status of a server.

    Args:
        client: a client from :func:`~fiftyone_redis.connection.client.connect`

    Raises:
        FiftyOneRedisError: if it does not answer
    """
    found = client.get_capabilities()
    engine = f", query engine {found.search}" if found.search else ""
    version = f"{found.server.capitalize()} {found.version}{engine}"
    return ServerStatus(
        client.address, _login(client), version, _memory(client), find_problems(client)
    )


def find_problems(client: Client) -> list[str]:
    """Describes a server's problems and their fixes, as `fiftyone-redis doctor` does.

    Args:
        client: a client of the server
    """
    bad = (redis_server.WARNING, redis_server.PROBLEM)
    return [
        f"{found.text} {found.advice}".strip()
        for found in redis_server.examine(client)
        if found.status in bad
    ]


def _login(client: Client) -> str:
    options = client.pick_node().connection_pool.connection_kwargs
    login = options.get("credential_provider") or Login(None, None)
    password = "with a password" if login.has_password else "no password"
    return f"{login.username or 'default'}, {password}"


def _memory(client: Client) -> str:
    """Describes used memory and limit, summed over the nodes of a cluster."""
    try:
        info = client.execute("INFO", "memory")
    except AuthenticationError:
        return "not told to this user"
    with parsing("INFO memory", info):
        nodes = [info] if "used_memory" in info else list(info.values())
        used = sum(int(node["used_memory"]) for node in nodes)
        most = sum(int(node.get("maxmemory") or 0) for node in nodes)
    return (
        f"{format_bytes(used)} of {format_bytes(most)}"
        if most
        else f"{format_bytes(used)}, no limit"
    )
