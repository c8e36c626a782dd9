"""Finishes or removes what an interrupted rebuild left behind.

While a rebuild runs, a record in Redis names what it would leave: the index that the alias will
point to, and the vector fields that only one of the two indexes uses.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.engine import aliases, commands, dtype_conversion, replies
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import (
    AuthenticationError,
    IndexMismatchError,
    IndexNotFoundError,
)

_GAP_SECONDS = 1.0
_POLL_SECONDS = 0.02

# FiftyOne configures loggers under its own name, so this one is shown too.
logger = logging.getLogger("fiftyone." + __name__)


@dataclass(frozen=True)
class Record:
    """What a rebuild would leave behind if it were interrupted now.

    Args:
        index: the name of the new index, once it is complete and the alias is about to move to it
        fields: vector fields of the documents, with their types; all but one must be removed
    """

    index: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def write_record(client: Client, alias: str, record: Record) -> None:
    """Stores what a rebuild would leave behind if it were interrupted from now on."""
    text = json.dumps({"index": record.index, "fields": dict(record.fields)})
    execute(client, "SET", commands.record_key(alias), text)


def read_record(client: Client, alias: str) -> Record:
    """Reads the record of a running or interrupted rebuild; an empty record if there is none."""
    try:
        found = execute(client, "GET", commands.record_key(alias))
    except AuthenticationError:
        return Record()  # this user may only search
    with parsing("GET", found):
        return Record(**json.loads(found)) if found is not None else Record()


def remove_record(client: Client, alias: str) -> None:
    """Removes the record, once nothing is left behind."""
    execute(client, "UNLINK", commands.record_key(alias))


def finish_switch(client: Client, alias: str) -> bool:
    """Points an alias at the complete index of a rebuild, if the rebuild did not get that far.

    In a cluster, an index without an alias is dropped before the alias is added. Whoever opens the
    index in that moment waits here, and adds the alias if nobody else does.

    Returns:
        whether the alias points at an index now
    """
    target = read_record(client, alias).index
    if target is None:
        return False
    deadline = time.monotonic() + _GAP_SECONDS
    while time.monotonic() < deadline:
        if aliases.find_index(client, alias) is not None:
            return True
        time.sleep(_POLL_SECONDS)
    try:
        execute(client, *commands.add_alias(alias, target))
    except IndexNotFoundError:
        return False
    except IndexMismatchError:
        return True  # another process was faster
    logger.warning("Finished an interrupted rebuild of the index %r", alias)
    return True


def remove(client: Client, schema: Schema, *, fields_too: bool = True) -> None:
    """Removes indexes and vector fields that interrupted rebuilds left behind.

    Args:
        client: a client of the server
        schema: the current index
        fields_too: whether to remove fields too; False if the documents are about to be deleted
    """
    alias = aliases.find_stable_name(client, schema)
    fields = dict(read_record(client, alias).fields)
    found: list[tuple[str, bool]] = []
    for name, info in _find_other_indexes(client, alias, schema.server_name):
        copies = replies.read_prefixes(info, _other_storage(schema.storage))
        if copies:
            is_ours = copies in _copy_prefixes(alias, name)
        else:
            is_ours = replies.read_prefixes(info, schema.storage) == schema.prefixes
            fields |= _find_conversion_fields(info, schema) if is_ours else {}
        if is_ours:
            found.append((name, bool(copies)))
    if fields and fields_too:
        write_record(client, alias, Record(fields=fields))
    for name, has_copies in found:
        _drop(client, name, documents=has_copies)
    if fields_too:
        _remove_fields(client, schema, fields)
    remove_record(client, alias)


def remove_all(
    client: Client, alias: str, prefixes: Sequence[str], *, documents: bool = False
) -> None:
    """Removes all indexes that were made for an alias that points at none of them.

    Args:
        client: a client of the server
        alias: the alias
        prefixes: the prefixes of the indexes; indexes with other prefixes are left alone
        documents: whether to remove their documents too
    """
    for name, info in _find_other_indexes(client, alias, None):
        own = [replies.read_prefixes(info, storage) for storage in ("HASH", "JSON")]
        if tuple(prefixes) in own:
            _drop(client, name, documents=documents)
    remove_record(client, alias)


def _find_other_indexes(
    client: Client, alias: str, current: str | None
) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in aliases.list_own_names(client, alias):
        if name == current:
            continue
        try:
            info = replies.read_info(execute(client, *commands.info(name)))
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


def _remove_fields(client: Client, schema: Schema, fields: Mapping[str, str]) -> None:
    """Removes unused vector fields, after converting vectors that the index's own field lacks."""
    for path, dtype in fields.items():
        if path == schema.vector_field or schema.storage == "JSON":
            continue
        dtype_conversion.convert_vectors(
            client, replace(schema, vector_field=path, dtype=dtype), schema
        )
        dtype_conversion.remove_field(client, schema, path)


def copies_prefix(name: str) -> str:
    """Returns the key prefix of the HASH copies that a rebuild makes of JSON documents.

    Args:
        name: the name of their index, which no other index has
    """
    return f"{name}~:"


def _copy_prefixes(alias: str, name: str) -> tuple[tuple[str, ...], ...]:
    """Returns the prefixes that mark an index as left by a conversion from JSON to HASH."""
    return (f"{alias}:",), (copies_prefix(name),)


def _other_storage(storage: str) -> str:
    return "JSON" if storage == "HASH" else "HASH"


def _drop(client: Client, name: str, *, documents: bool) -> None:
    logger.info("Removing the index %r, which an interrupted rebuild left behind", name)
    try:
        execute(client, *commands.drop(name, documents))
    except IndexNotFoundError:
        return  # another process was faster
