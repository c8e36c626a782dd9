"""Removes indexes that deleted or interrupted runs left behind."""

from __future__ import annotations

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.protocol import aliases
from fiftyone_redis.errors import IndexNotFoundError
from fiftyone_redis.similarity.index_names import match_names
from fiftyone_redis.similarity.index_users import find_users


def remove_orphans(client: Client, index_name: str, dataset_name: str, key: str) -> None:
    """Removes the indexes that deleted or interrupted runs of the same name left behind.

    Only indexes with a name that was chosen here go, for a run of the same key of a dataset of the
    same name in the same FiftyOne database, and only if no run uses them. A run whose own index has
    another name removes none.

    Args:
        client: a client of the server
        index_name: the name of the run's own index
        dataset_name: the name of the dataset
        key: the brain key
    """
    pattern = match_names(dataset_name, key)
    if not pattern.fullmatch(index_name):
        return
    names = {get_alias(name) for name in aliases.list_names(client)}
    for name in sorted(filter(pattern.fullmatch, names)):
        if not find_users(name):
            drop_index(client, name)


def drop_index(client: Client, name: str) -> None:
    """Deletes an index and its documents, and what interrupted changes left of it."""
    try:
        VectorIndex.open(client, name).drop()
    except IndexNotFoundError:
        VectorIndex.remove_leftovers(client, name)
