"""Names an index that some nodes of a cluster have, and others have not.

A command that makes an index goes from the coordinator to all nodes, and one that was down at that
time lacks the index from then on. Such an index can neither be opened, as it does not exist on some
nodes, nor made, as it exists on others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import redis

from fiftyone_redis.connection import cluster, whole
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.naming import MARK
from fiftyone_redis.connection.pool import ask, place
from fiftyone_redis.connection.wire import LIST, resolve, text
from fiftyone_redis.errors import IndexMismatchError, some


def explain_missing(client: Client, name: str) -> IndexMismatchError | None:
    """Returns why an index is said not to exist, or to exist, if only some nodes have it.

    Asks every primary which indexes it has itself.

    Args:
        client: a client of a cluster, or of one server
        name: the index's name, or an alias

    Returns:
        an error that names the nodes and the command that repairs it; None if there is no index
        of that name, or all nodes have it, or some do not tell
    """
    if not isinstance(client, redis.RedisCluster):
        return None
    nodes = {place(n.connection_pool.connection_kwargs): n for n in cluster.primaries(client)}
    try:
        if not whole.is_checked(client):
            return None
        listed = {at: set(map(text, ask(node, [LIST]))) for at, node in nodes.items()}
        for index in sorted(set().union(*listed.values())):
            lacking = [at for at, found in listed.items() if index not in found]
            if lacking and (index == name or index.startswith(name + MARK)):
                return _of_index(index, listed, lacking)
        return _of_alias(name, {at: _knows(node, name) for at, node in nodes.items()}, listed)
    except redis.RedisError:
        return None


def _of_index(index: str, listed: Mapping[str, set[str]], lacking: list[str]) -> IndexMismatchError:
    having = [at for at, found in listed.items() if index in found]
    return IndexMismatchError(
        f"The index {index!r} exists on some nodes of the cluster only ({some(having)}), and not "
        f"on {some(lacking)}; remove what is there of it with `FT.DROPINDEX {index}` at "
        f"{having[0]} (its documents stay), and make it again."
    )


def _of_alias(
    name: str, known: Mapping[str, bool], listed: Mapping[str, Iterable[str]]
) -> IndexMismatchError | None:
    lacking = [at for at, knows in known.items() if not knows]
    if not lacking or len(lacking) == len(known):
        return None
    having = [at for at, knows in known.items() if knows]
    indexes = [each for each in listed[having[0]] if each.startswith(name + MARK)]
    index = indexes[0] if len(indexes) == 1 else "<its index>"
    return IndexMismatchError(
        f"The alias {name!r} exists on some nodes of the cluster only ({some(having)}), and not on "
        f"{some(lacking)}; repair it with `FT.ALIASUPDATE {name} {index}`."
    )


def _knows(node: redis.Redis, name: str) -> bool:
    """Returns whether a node itself has an index or an alias of a name."""
    try:
        ask(node, resolve(name))
    except redis.ResponseError as error:
        if str(error).startswith("NOPERM"):
            raise
        return False
    return True
