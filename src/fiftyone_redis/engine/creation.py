"""Makes an index that is new, where interrupted changes may have left something of its name."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine import aliases, commands, lease, leftovers, replies
from fiftyone_redis.engine.definition import Definition
from fiftyone_redis.engine.documents import Documents
from fiftyone_redis.engine.dropping import delete_orphans
from fiftyone_redis.engine.indexing import wait_until_indexed
from fiftyone_redis.engine.overlap import refuse_overlap
from fiftyone_redis.engine.requirements import require_support
from fiftyone_redis.engine.schema import Schema, check_attributes
from fiftyone_redis.errors import IndexMismatchError, list_first

_SCAN_SECONDS = 0.001  # in which a server with few keys scans them; it is asked once then


def create_index(documents: Documents) -> Definition:
    """Makes a new index behind an alias, and waits until it has all documents.

    Raises:
        SettingsError: if the name of an attribute cannot be used
        IndexMismatchError: if an index of that name exists, or one that would share documents
        UnsupportedServerError: if the server cannot hold such an index
    """
    client, schema = documents.client, documents.schema
    check_attributes(schema)
    require_support(client, schema)
    name = schema.name
    with lease.hold(client, name), ExitStack() as undo:
        _refuse_taken(name, aliases.is_taken(client, name))
        leftovers.remove_all(client, name, schema.prefixes)
        refuse_overlap(documents)
        schema = replace(schema, server_name=naming.make_index_name(name))
        _refuse_other_keys(Documents(client, schema))
        client.execute(*commands.create(schema))
        undo.callback(client.execute, *commands.drop(schema.server_name, documents=False))
        # Another process may have made one at the same moment.
        refuse_overlap(Documents(client, schema))
        time.sleep(_SCAN_SECONDS)
        reply = wait_until_indexed(client, schema.server_name)
        client.execute(*commands.add_alias(name, schema.server_name))
        undo.pop_all()
    return Definition(Documents(client, schema), name, replies.read_identity(reply))


def remove_leftovers(client: Client, name: str) -> None:
    """Removes what is left of an index that does not exist any more, documents included.

    Raises:
        IndexMismatchError: if the index exists
    """
    with lease.hold(client, name, patient=False):
        _refuse_taken(name, aliases.find_index(client, name) is not None)
        leftovers.remove_all(client, name, (f"{name}:",), documents=True)
        delete_orphans(Documents(client, Schema(name, dim=1)))


def _refuse_other_keys(documents: Documents) -> None:
    """Raises if keys under the prefix are not documents of the index, which would own them."""
    others = documents.find_other_keys()
    if others:
        prefix = documents.schema.prefix
        raise IndexMismatchError(
            f"{len(others)} keys that begin with {prefix!r} hold no vector of this index: "
            f"{list_first([repr(key) for key in others])}; choose another index_name, or remove "
            "them."
        )


def _refuse_taken(name: str, is_taken: bool) -> None:
    if is_taken:
        raise IndexMismatchError(
            f"An index of the name {name!r} exists already; open it, or choose another index_name."
        )
