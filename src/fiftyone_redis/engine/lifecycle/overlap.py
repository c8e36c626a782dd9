"""Detects indexes that share documents."""

from __future__ import annotations

from typing import Any

import redis

from fiftyone_redis.connection import naming
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol import aliases, index_info
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import IndexMismatchError, list_first


def refuse_overlap(documents: Documents) -> None:
    """Raises if a new index would share documents with another one.

    An index contains every document of its storage whose key starts with one of its prefixes.

    Raises:
        IndexMismatchError: if a prefix of one index is the start of a prefix of the other
    """
    overlapping = find_overlapping(documents)
    if overlapping:
        raise IndexMismatchError(
            f"The index {documents.schema.name!r} would share documents with other indexes, since "
            f"their key prefixes overlap: {list_first(overlapping)}; choose another index_name."
        )


def find_overlapping(documents: Documents) -> list[str]:
    """Returns the names of other indexes that share documents with an index."""
    return [repr(naming.get_alias(name)) for name, _ in _find_overlapping(documents)]


def find_overlapping_prefixes(documents: Documents) -> set[str]:
    """Returns the prefixes of other indexes that share documents with an index."""
    return {prefix for _, prefixes in _find_overlapping(documents) for prefix in prefixes}


def _find_overlapping(documents: Documents) -> list[tuple[str, list[str]]]:
    """Returns the names of indexes that share documents with an index, and their prefixes."""
    client, schema = documents.client, documents.schema
    own = (schema.name, schema.server_name)
    others = [name for name in aliases.list_names(client) if name not in own]
    found = [
        (name, _read_overlapping(reply, schema))
        for name, reply in aliases.describe_each(client, others)
    ]
    return [(name, prefixes) for name, prefixes in found if prefixes]


def _read_overlapping(reply: Any, schema: Schema) -> list[str]:
    if isinstance(reply, redis.RedisError):
        return []  # dropped in the meantime, or not visible to this user
    others = index_info.read_prefixes(index_info.read_info(reply), schema.storage)
    own = schema.prefixes
    return [o for o in others if any(o.startswith(p) or p.startswith(o) for p in own)]
