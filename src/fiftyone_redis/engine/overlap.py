"""Whether two indexes would hold the same documents."""

from __future__ import annotations

from typing import Any

import redis

from fiftyone_redis.connection import naming, wire
from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.pipeline import exchange
from fiftyone_redis.engine import commands, replies
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import IndexMismatchError, some


def refuse_overlap(client: Client, schema: Schema) -> None:
    """Makes sure that a new index would share no documents with another one.

    An index holds every document of its storage whose key starts with one of its prefixes.

    Raises:
        IndexMismatchError: if a prefix is the start of another index's, or the other way round
    """
    overlapping = find_overlapping(client, schema)
    if overlapping:
        raise IndexMismatchError(
            f"The index {schema.name!r} would share documents with others whose keys start alike: "
            f"{some(overlapping)}; choose another index_name."
        )


def find_overlapping(client: Client, schema: Schema) -> list[str]:
    """Returns the names of the other indexes that hold documents of an index, or would."""
    names = [wire.text(name) for name in execute(client, *commands.names())]
    requests = (wire.queries([commands.info(name)], [name]) for name in names)
    return [
        repr(naming.alias_of(name))
        for [name], [reply] in exchange(client, requests)
        if name not in (schema.name, schema.server_name) and _overlaps(reply, schema)
    ]


def _overlaps(reply: Any, schema: Schema) -> bool:
    if isinstance(reply, redis.RedisError):
        return False  # dropped in the meantime, or not for this user to see
    others = replies.read_prefixes(replies.read_info(reply), schema.storage)
    return any(o.startswith(p) or p.startswith(o) for o in others for p in schema.prefixes)
