"""Makes an index that is new, where interrupted changes may have left something of its name."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from fiftyone_redis.connection import naming
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.lifecycle import lease, leftovers, switching
from fiftyone_redis.engine.lifecycle.definition import Definition
from fiftyone_redis.engine.lifecycle.dropping import delete_all
from fiftyone_redis.engine.lifecycle.overlap import refuse_overlap
from fiftyone_redis.engine.lifecycle.records import read_record, remove_record
from fiftyone_redis.engine.protocol import aliases, commands
from fiftyone_redis.engine.protocol.indexing import wait_until_indexed
from fiftyone_redis.engine.protocol.requirements import require_support
from fiftyone_redis.engine.schema.schema import Schema, check_attributes
from fiftyone_redis.errors import IndexMismatchError, format_count, list_first

_SCANNED = 1024  # keys of a page from which a few documents are taken
_SCAN_SECONDS = 0.001  # in which a server with few keys scans them; it is asked once then


def create_index(documents: Documents) -> Definition:
    """Makes a new index behind an alias, and waits until it has all documents.

    Raises:
        SettingsError: if the name of an attribute cannot be used
        IndexMismatchError: if an index of that name exists, or one that would share documents; or
            if keys under its prefix are no documents of it
        UnsupportedServerError: if the server cannot hold such an index
    """
    client, schema = documents.client, documents.schema
    check_attributes(schema)
    require_support(client, schema)
    name = schema.name
    with lease.hold(client, name) as held, ExitStack() as undo:
        _refuse_taken(name, aliases.is_taken(client, name))
        leftovers.remove_all(client, name, schema.prefixes, held.fence)
        refuse_overlap(documents)
        fenced = Documents(client, schema, held.fence)
        leftovers.take_over(fenced, name)
        made = Documents(client, replace(schema, server_name=naming.make_index_name(name)))
        has_documents = _refuse_other_keys(fenced)
        client.execute(*commands.create(made.schema))
        undo.callback(switching.drop, client, made.schema.server_name, documents=False)
        # Another process may have made one at the same moment.
        refuse_overlap(made)
        if has_documents:
            time.sleep(_SCAN_SECONDS)
            wait_until_indexed(client, made.schema.server_name)
        client.execute(*commands.add_alias(name, made.schema.server_name))
        remove_record(held.fence, name)
        undo.pop_all()
    return Definition(made, name, (wire.to_bytes(made.schema.server_name),))


def remove_leftovers(client: Client, name: str) -> None:
    """Removes what is left of an index that does not exist any more, documents included.

    Raises:
        IndexMismatchError: if the index exists
    """
    with lease.hold(client, name, patient=False) as held:
        _refuse_taken(name, aliases.find_index(client, name) is not None)
        leftovers.remove_all(client, name, (f"{name}:",), held.fence, documents=True)
        orphans = Documents(client, Schema(name, dim=1), held.fence)
        converted = leftovers.find_converted_fields(orphans, orphans.draw_keys(_SCANNED))
        known = {*read_record(client, name).fields, *converted}
        for field in {orphans.schema.vector_field, *known}:
            delete_all(orphans.of(replace(orphans.schema, vector_field=field)))
        remove_record(held.fence, name)


def _refuse_other_keys(documents: Documents) -> bool:
    """Raises if keys under the prefix are not documents of the index, which would own them.

    Returns:
        whether there are documents under the prefix
    """
    keys, others = documents.find_keys()
    if others and leftovers.take_over_converted(documents, others):
        keys, others = documents.find_keys()
    if others:
        prefix = documents.schema.prefix
        raise IndexMismatchError(
            f"Found {format_count(len(others), 'key')} beginning with {prefix!r} but without a "
            f"vector of this index: {list_first([repr(key) for key in others])}; choose another "
            "index_name, or delete what is stored there."
        )
    return bool(keys)


def _refuse_taken(name: str, is_taken: bool) -> None:
    if is_taken:
        raise IndexMismatchError(
            f"An index named {name!r} exists already; open it, or choose another index_name."
        )
