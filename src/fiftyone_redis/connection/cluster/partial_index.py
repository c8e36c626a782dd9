"""Reports a partial index: one that exists on some nodes of a cluster only.

The coordinator sends FT.CREATE to all nodes. A node that is down at that time never gets the index.
A partial index can neither be opened (some nodes lack it) nor created (some nodes have it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import redis

from fiftyone_redis.connection.clients.base_client import BaseClient
from fiftyone_redis.connection.naming import SEPARATOR
from fiftyone_redis.connection.pool import send_command
from fiftyone_redis.connection.protocol.wire import LIST, make_lookup, read_names
from fiftyone_redis.errors import IndexMismatchError, list_first


def explain_partial_index(client: BaseClient, name: str) -> IndexMismatchError | None:
    """Returns the error for a partial index.

    Lists the indexes of every primary.

    Args:
        client: a client of a cluster
        name: the index's name, or an alias

    Returns:
        an error that names the nodes and the command that repairs it; None if no node has the
        index, all nodes have it, or some nodes do not reply
    """
    nodes = {node.address: node for node in client.list_primaries()}
    try:
        if not client.needs_checks():
            return None
        listed = {at: set(read_names(send_command(node, [LIST]))) for at, node in nodes.items()}
        for index in sorted(set().union(*listed.values())):
            lacking = [at for at, found in listed.items() if index not in found]
            if lacking and (index == name or index.startswith(name + SEPARATOR)):
                return _make_index_error(index, listed, lacking)
        return _make_alias_error(
            name, {at: _has_index(node, name) for at, node in nodes.items()}, listed
        )
    except redis.RedisError:
        return None


def _make_index_error(
    index: str, listed: Mapping[str, set[str]], lacking: list[str]
) -> IndexMismatchError:
    having = [at for at, found in listed.items() if index in found]
    return IndexMismatchError(
        f"The index {index!r} exists on some nodes of the cluster only ({list_first(having)}), not "
        f"on {list_first(lacking)}; drop it with `FT.DROPINDEX {index}` at {having[0]} (its "
        "documents stay), and create it again."
    )


def _make_alias_error(
    name: str, known: Mapping[str, bool], listed: Mapping[str, Iterable[str]]
) -> IndexMismatchError | None:
    lacking = [at for at, knows in known.items() if not knows]
    if not lacking or len(lacking) == len(known):
        return None
    having = [at for at, knows in known.items() if knows]
    indexes = [each for each in listed[having[0]] if each.startswith(name + SEPARATOR)]
    index = indexes[0] if len(indexes) == 1 else "<its index>"
    return IndexMismatchError(
        f"The alias {name!r} exists on some nodes of the cluster only ({list_first(having)}), not "
        f"on {list_first(lacking)}; repair it with `FT.ALIASUPDATE {name} {index}`."
    )


def _has_index(node: redis.Redis, name: str) -> bool:
    """Returns whether a node has an index or alias of that name."""
    try:
        send_command(node, make_lookup(name))
    except redis.ResponseError as error:
        if str(error).startswith("NOPERM"):
            raise
        return False
    return True
