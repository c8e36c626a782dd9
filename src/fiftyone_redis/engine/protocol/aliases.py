"""Resolves index names and aliases.

A rebuild creates another index and moves the alias to it with FT.ALIASUPDATE, which is atomic.
Indexes made by others or by version 0.1.0 have no alias until their first rebuild.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.protocol import commands, index_info
from fiftyone_redis.errors import IndexNotFoundError


def find_stable_name(client: Client, given: str, name: str) -> str:
    """Returns the name that survives a rebuild: the alias of an index, or else its own name.

    Args:
        client: a client of the server
        given: the name or alias that users pass
        name: the index's own name
    """
    if name == given:
        return name
    alias = get_alias(name)
    is_alias = alias == given or find_index(client, alias) == name
    return alias if is_alias else name


def list_own_names(client: Client, alias: str) -> list[str]:
    """Returns the names of all indexes that were made for an alias, wherever it points now."""
    return sorted(name for name in list_names(client) if name != alias and get_alias(name) == alias)


def is_taken(client: Client, name: str) -> bool:
    """Returns whether a name belongs to an index, or is an alias that this package made.

    Aliases made by others need no check: FT.ALIASADD refuses them.
    """
    names = list_names(client)
    if name in names:
        return True
    # In a cluster, the node that lists the names may lack an index that other nodes have.
    is_sure = not client.is_cluster and name not in map(get_alias, names)
    return not is_sure and find_index(client, name) is not None


def find_index(client: Client, name: str) -> str | None:
    """Returns the name of the index that a name or alias resolves to; None if there is none."""
    try:
        info = index_info.read_info(client.execute(*commands.info(name)))
    except IndexNotFoundError:
        return None
    return str(info["index_name"])


def list_names(client: Client) -> list[str]:
    """Returns the names of all indexes of a server."""
    return wire.read_names(client.execute(*commands.names()))


def describe_each(client: Client, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yields the names of indexes, each with the reply to FT.INFO, or the error in its place."""
    requests = (wire.pack_queries([commands.info(name)], [name]) for name in names)
    for [name], [reply] in client.exchange(requests):
        yield name, reply
