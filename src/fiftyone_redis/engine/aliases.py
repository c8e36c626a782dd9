"""Which index a name leads to: its own name, or an alias of it.

A rebuild makes another index and moves the alias, which FT.ALIASUPDATE does in one step on
every server. Indexes that others made, and those of version 0.1.0, have no alias until then.
"""

from __future__ import annotations

import redis

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.naming import alias_of
from fiftyone_redis.engine import commands, replies
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import IndexNotFoundError


def find_stable_name(client: Client, schema: Schema) -> str:
    """Returns the name that stays when an index is rebuilt: its alias, or else its own name."""
    name, alias = schema.server_name, alias_of(schema.server_name)
    if name == schema.name:
        return name
    is_alias = alias == schema.name or find_index(client, alias) == name
    return alias if is_alias else name


def list_own_names(client: Client, alias: str) -> list[str]:
    """Returns the names of all indexes that were made for an alias, wherever it leads."""
    return sorted(name for name in _list_names(client) if name != alias and alias_of(name) == alias)


def is_taken(client: Client, name: str) -> bool:
    """Returns whether a name is that of an index, or an alias of one that was made here.

    The server itself refuses a name that others made an alias, when it is to become one again.
    """
    names = _list_names(client)
    if name in names:
        return True
    # The node of a cluster that tells the names may lack an index that others have.
    is_sure = not isinstance(client, redis.RedisCluster) and name not in map(alias_of, names)
    return not is_sure and find_index(client, name) is not None


def find_index(client: Client, name: str) -> str | None:
    """Returns the name of the index that a name leads to; None if there is none."""
    try:
        info = replies.read_info(execute(client, *commands.info(name)))
    except IndexNotFoundError:
        return None
    return str(info["index_name"])


def _list_names(client: Client) -> list[str]:
    return [wire.text(name) for name in execute(client, *commands.names())]
