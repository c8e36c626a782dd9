"""Removes what an interrupted rebuild left behind: indexes, vector fields, its record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.lifecycle import dtype_conversion, switching
from fiftyone_redis.engine.lifecycle.dropping import finish_removal
from fiftyone_redis.engine.lifecycle.records import Record, read_record, remove_record, write_record
from fiftyone_redis.engine.protocol import aliases, commands, index_info
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import IndexNotFoundError
from fiftyone_redis.log import get_logger

_SAMPLE = 16  # keys that tell which fields there are

logger = get_logger(__name__)


def remove(documents: Documents, alias: str, fence: Fence, *, fields_too: bool = True) -> None:
    """Removes indexes and vector fields that interrupted rebuilds left behind.

    Args:
        documents: the documents of the current index, behind the fence
        alias: its alias, or its own name if it has none
        fence: the fence of its lease
        fields_too: whether to remove fields too; False if the documents are about to be deleted
    """
    client, schema = documents.client, documents.schema
    fields = dict(read_record(client, alias).fields)
    found: list[tuple[str, bool]] = []
    for name, info in _find_other_indexes(client, alias, schema.server_name):
        # A conversion from JSON to HASH leaves an index of copies.
        copies = index_info.read_prefixes(info, "JSON" if schema.storage == "HASH" else "HASH")
        if copies:
            is_ours = copies in ((f"{alias}:",), (copies_prefix(name),))
        else:
            is_ours = index_info.read_prefixes(info, schema.storage) == schema.prefixes
            fields |= _find_conversion_fields(info, schema) if is_ours else {}
        if is_ours:
            found.append((name, bool(copies)))
    if fields and fields_too:
        write_record(fence, alias, Record(fields=fields))
    for name, has_copies in found:
        _drop(fence, name, documents=has_copies)
    if fields_too:
        _remove_fields(documents, fields)
    remove_record(fence, alias)


def remove_all(
    client: Client, alias: str, prefixes: Sequence[str], fence: Fence, *, documents: bool = False
) -> None:
    """Removes all indexes that were made for an alias that points at none of them.

    The record stays, since it names the fields that their documents may have.

    Args:
        client: a client of the server
        alias: the alias
        prefixes: the prefixes of the indexes; indexes with other prefixes are left alone
        fence: the fence of the alias's lease
        documents: whether to remove their documents too
    """
    finish_removal(client, alias, fence)
    for name, info in _find_other_indexes(client, alias, None):
        own = [index_info.read_prefixes(info, storage) for storage in ("HASH", "JSON")]
        if tuple(prefixes) in own:
            _drop(fence, name, documents=documents)


def take_over(documents: Documents, alias: str) -> None:
    """Makes documents of an index that is gone fit a new index, if their vectors were converted.

    Args:
        documents: the documents of the new index, behind the fence
        alias: its alias
    """
    _remove_fields(documents, read_record(documents.client, alias).fields)


def take_over_converted(documents: Documents, keys: Sequence[str]) -> bool:
    """Makes documents fit a new index, if others have dropped theirs after a change of data type.

    No record tells then in which field their vectors are.

    Args:
        documents: the documents of the new index, behind the fence
        keys: keys under its prefix that lack a vector in the index's own field

    Returns:
        whether there were any
    """
    schema = documents.schema
    fields = [
        field
        for field in find_converted_fields(documents, keys)
        if not documents.of(replace(schema, vector_field=field)).find_keys()[1]
    ]
    _remove_fields(documents, dict.fromkeys(fields, schema.dtype))
    return bool(fields)


def find_converted_fields(documents: Documents, keys: Sequence[str]) -> set[str]:
    """Returns the fields that changes of data type have made, judging by a few keys."""
    packed = [wire.to_bytes(key) for key in keys[:_SAMPLE]]
    request = wire.pack_keyed((["HKEYS", key] for key in packed), packed)
    own = re.compile(re.escape(documents.schema.vector_name) + "_[0-9a-f]{8}")
    return {
        field
        for _, replies in documents.client.exchange([request])
        for reply in replies
        if not isinstance(reply, redis.RedisError)  # it is no HASH, or this user may not look
        for field in map(wire.to_text, reply)
        if own.fullmatch(field)
    }


def _find_other_indexes(
    client: Client, alias: str, current: str | None
) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in aliases.list_own_names(client, alias):
        if name == current:
            continue
        try:
            info = index_info.read_info(client.execute(*commands.info(name)))
        except IndexNotFoundError:
            continue  # dropped in the meantime
        found.append((name, info))
    return found


def _find_conversion_fields(info: Mapping[str, Any], schema: Schema) -> dict[str, str]:
    """Returns the vector fields that a change of data type added to an index, with their types."""
    return {
        attribute["identifier"]: attribute["data_type"].lower()
        for attribute in info["attributes"]
        if attribute["type"] == "VECTOR"
        and attribute["identifier"].startswith(f"{schema.vector_name}_")
    }


def _remove_fields(documents: Documents, fields: Mapping[str, str]) -> None:
    """Removes unused vector fields, after converting vectors that the index's own field lacks."""
    schema = documents.schema
    for path, dtype in fields.items():
        if path == schema.vector_field or schema.storage == "JSON":
            continue
        unused = documents.of(replace(schema, vector_field=path, dtype=dtype))
        dtype_conversion.convert_vectors(unused, schema)
        dtype_conversion.remove_field(documents, path)


def copies_prefix(name: str) -> str:
    """Returns the key prefix of the HASH copies that a rebuild makes of JSON documents.

    Args:
        name: the name of their index, which no other index has
    """
    return f"{name}~:"


def _drop(fence: Fence, name: str, *, documents: bool) -> None:
    logger.info("Removing the index %r, which an interrupted rebuild left behind", name)
    switching.drop(fence, name, documents=documents)
