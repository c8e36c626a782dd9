"""Lists the vector indexes of a server, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol import aliases, index_info
from fiftyone_redis.errors import AuthenticationError, IndexMismatchError, ServerError

_SAMPLE, _SCANNED = 16, 1024  # documents measured, and keys scanned for them


@dataclass(frozen=True)
class IndexEntry:
    """A vector index of a server.

    Args:
        name: its alias, or its own name if it has none
        documents: the number of its documents
        memory: the bytes of the index and its documents, estimated from a few of them
        algorithm: for instance ``"FLAT"``
        dtype: the type of its vectors
        dim: their dimension
        metric: "cosine", "dotproduct" or "euclidean"
        storage: "HASH" or "JSON"
    """

    name: str
    documents: int
    memory: int
    algorithm: str
    dtype: str
    dim: int
    metric: str
    storage: str


def list_indexes(client: Client) -> list[IndexEntry]:
    """Returns the vector indexes of a server, sorted by name.

    Indexes that this user may not look into, or that hold no vectors this package can search, are
    left out.

    Raises:
        FiftyOneRedisError: if the server refuses to list them
    """
    replies_by_name = aliases.describe_each(client, aliases.list_names(client))
    entries = [_describe(client, reply) for _, reply in replies_by_name]
    return sorted((each for each in entries if each is not None), key=lambda each: each.name)


def estimate_memory(client: Client, info: dict[str, Any]) -> int:
    """Returns the bytes of an index and its documents, estimated from a few of the documents.

    This is the size of an index everywhere: in lists, reports and the App.

    Args:
        client: a client of the server
        info: the parsed reply to FT.INFO

    Raises:
        IncompleteResultError: if the server does not tell how many documents there are
    """
    total, count = index_info.read_index_bytes(info), index_info.read_documents(info)
    try:
        documents = Documents(client, index_info.read_schema(info))
    except IndexMismatchError:
        return total  # it holds no vectors that could be searched
    try:
        each = _measure(client, documents.draw_keys(_SCANNED)[:_SAMPLE]) if count else []
    except (AuthenticationError, ServerError):
        return total  # this user may not look at documents
    return total + round(sum(each) / len(each) * count if each else 0)


def _measure(client: Client, keys: Sequence[str]) -> list[int]:
    """Returns the bytes of each key, 0 for one that is gone; all are asked for together."""
    packed = [wire.to_bytes(key) for key in keys]
    commands = [(wire.pack(["MEMORY", "USAGE", key]),) for key in packed]
    replies = client.exchange_or_raise([wire.Request(commands, keys, packed)])
    return [size or 0 for _, sizes in replies for size in sizes]


def _describe(client: Client, reply: Any) -> IndexEntry | None:
    if isinstance(reply, redis.RedisError):
        return None  # dropped in the meantime, or not visible to this user
    info = index_info.read_info(reply)
    try:
        schema = index_info.read_schema(info)
    except IndexMismatchError:
        return None
    return IndexEntry(
        get_alias(schema.name),
        index_info.read_documents(info),
        estimate_memory(client, info),
        schema.algorithm,
        schema.dtype,
        schema.dim,
        schema.metric,
        schema.storage,
    )
