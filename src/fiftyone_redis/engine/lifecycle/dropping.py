"""Drops an index together with its documents, without keeping other clients waiting.

FT.DROPINDEX with DD deletes all documents in one command, which blocks the server for seconds if
they are many, and takes other people's HASHes under the same prefix with them. So the documents
are deleted page by page, and only those that hold a vector. A record tells what is left to delete
if that is interrupted.
"""

from __future__ import annotations

from contextlib import suppress

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.lifecycle import switching
from fiftyone_redis.engine.lifecycle.overlap import find_overlapping_prefixes
from fiftyone_redis.engine.lifecycle.records import (
    Record,
    Removal,
    read_record,
    remove_record,
    write_record,
)
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import ServerError


def drop_with_documents(documents: Documents, alias: str, fence: Fence) -> None:
    """Drops an index and deletes its documents.

    Args:
        documents: the documents of the index, behind the fence
        alias: its alias, or its own name if it has none
        fence: the fence of its lease
    """
    schema = documents.schema
    if not schema.owns_prefix:
        # Only the index tells which documents it has.
        delete_all(documents)
        switching.drop(fence, schema.server_name, documents=False)
        return
    removal = Removal(schema.prefix, schema.storage, schema.vector_field)
    with suppress(ServerError):  # a full server takes no record
        write_record(fence, alias, Record(removal=removal))
    switching.drop(fence, schema.server_name, documents=False)
    delete_all(documents)
    remove_record(fence, alias)


def finish_removal(client: Client, alias: str, fence: Fence) -> None:
    """Deletes the documents that an interrupted drop left."""
    removal = read_record(client, alias).removal
    if removal is None:
        return
    schema = Schema(
        alias,
        dim=1,
        prefix=removal.prefix,
        storage=removal.storage,
        vector_field=removal.vector_field,
    )
    delete_all(Documents(client, schema, fence))
    remove_record(fence, alias)


def drop_without_documents(documents: Documents, alias: str, fence: Fence) -> None:
    """Drops an index; a new one of its name takes its documents over.

    Args:
        documents: the documents of the index
        alias: its alias, or its own name if it has none
        fence: the fence of its lease
    """
    schema = documents.schema
    if schema.vector_field != schema.vector_name:
        with suppress(ServerError):  # a full server takes no record
            write_record(fence, alias, Record(fields={schema.vector_field: schema.dtype}))
    switching.drop(fence, schema.server_name, documents=False)


def delete_all(documents: Documents) -> None:
    """Deletes all documents with a vector, but those that another index has."""
    prefix, is_tested = documents.schema.prefix, documents.schema.vectors_only
    others = tuple(find_overlapping_prefixes(documents))
    # All are listed first: a walk keeps its connection, and the pool may have one only.
    for ids in list(documents.walk_ids()):
        own = [id for id in ids if not (prefix + id).startswith(others)]
        # A removal from an index of vectors only tests for the vector itself.
        there = own if is_tested else list(documents.find_existing(own))
        documents.delete(there, are_indexed=False)
