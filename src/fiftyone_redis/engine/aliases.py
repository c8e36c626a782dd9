"""Which index a name leads to: its own name, or an alias of it.

A rebuild makes another index and moves the alias, which FT.ALIASUPDATE does in one step on
every server. Indexes that others made, and those of version 0.1.0, have no alias until then.
"""

from __future__ import annotations

from fiftyone_redis.engine import protocol, replies
from fiftyone_redis.engine.cluster import Client
from fiftyone_redis.engine.connection import execute
from fiftyone_redis.engine.errors import IndexNotFoundError
from fiftyone_redis.engine.naming import alias_of
from fiftyone_redis.engine.schema import Schema


def root(client: Client, schema: Schema) -> str:
    """Returns the name that stays when an index is rebuilt: its alias, or else its own name."""
    name, alias = schema.server_name, alias_of(schema.server_name)
    if name == schema.name:
        return name
    is_alias = alias == schema.name or find_index(client, alias) == name
    return alias if is_alias else name


def own_names(client: Client, alias: str) -> list[str]:
    """Returns the names of all indexes that were made for an alias, wherever it leads."""
    names = [protocol.text(name) for name in execute(client, *protocol.names())]
    return sorted(name for name in names if name != alias and alias_of(name) == alias)


def find_index(client: Client, name: str) -> str | None:
    """Returns the name of the index that a name leads to; None if there is none."""
    try:
        info = replies.read_info(execute(client, *protocol.info(name)))
    except IndexNotFoundError:
        return None
    return str(info["index_name"])
