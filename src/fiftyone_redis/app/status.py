"""The server behind the indexes: where it is, what it is, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from fiftyone_redis.app.indexes import size
from fiftyone_redis.engine.connection import address, execute

_ALMOST_FULL = 0.9


@dataclass(frozen=True)
class ServerStatus:
    """A server, as a person wants to know it. No secrets.

    Args:
        address: its host and port, or the path of its socket
        login: the user, and that there is a password, if there is one
        version: that of Redis, and of the query engine where it is a module
        memory: what is used, and of how much
        problems: what is wrong with it, and what to do, one sentence each
    """

    address: str
    login: str
    version: str
    memory: str
    problems: list[str]


def server(client: redis.Redis) -> ServerStatus:
    """Asks a server about itself.

    Args:
        client: a client from :func:`~fiftyone_redis.engine.connection.connect`

    Raises:
        FiftyOneRedisError: if it does not answer
    """
    info = execute(client, "INFO")
    used, most = int(info["used_memory"]), int(info.get("maxmemory") or 0)
    return ServerStatus(
        address(client),
        _login(client),
        _version(info),
        f"{size(used)} of {size(most)}" if most else f"{size(used)}, no limit",
        problems(client),
    )


def problems(client: redis.Redis) -> list[str]:
    """Says what is wrong with a server, and what to do about it, one sentence each.

    Args:
        client: a client of it
    """
    info = execute(client, "INFO", "memory")
    found = []
    used, most = int(info["used_memory"]), int(info.get("maxmemory") or 0)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if most and used > _ALMOST_FULL * most:
        found.append(
            f"Its memory is almost full ({size(used)} of {size(most)}); raise maxmemory or remove "
            "data."
        )
    if most and policy.startswith("allkeys"):
        found.append(
            f"It deletes any keys, vectors included, when its memory is full ({policy}); set "
            "maxmemory-policy to noeviction."
        )
    return found


def _login(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    user = options.get("username") or "default"
    return f"{user}, with a password" if options.get("password") else f"{user}, no password"


def _version(info: dict[str, Any]) -> str:
    modules = info.get("modules") or []
    search = [m for m in modules if isinstance(m, dict) and m.get("name") == "search"]
    if not search:
        return f"Redis {info['redis_version']}"
    number = int(search[0]["ver"])
    engine = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return f"Redis {info['redis_version']}, query engine {engine}"
