"""Parses the replies to FT.SEARCH and FT.AGGREGATE, which redis-py returns undecoded. No sockets.

They are flat lists of names and values in RESP2, and maps in RESP3. For their syntax see
https://redis.io/docs/latest/commands/; ``tests/shared/recordings`` holds real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from fiftyone_redis.connection.protocol.parsing import parses
from fiftyone_redis.connection.protocol.refusals import is_known_note, recognise_warning
from fiftyone_redis.connection.protocol.wire import (
    AGGREGATE,
    SEARCH,
    decode,
    split_pairs,
    to_bytes,
    to_dict,
    to_text,
)
from fiftyone_redis.engine.protocol.commands import ID
from fiftyone_redis.engine.schema.schema import (
    DISTANCE,
    Schema,
)
from fiftyone_redis.errors import IncompleteResultError, IndexMismatchError
from fiftyone_redis.log import get_logger

_DISTANCE = DISTANCE.encode()
_ID = ID.encode()

logger = get_logger(__name__)


class Hit(NamedTuple):
    """One document that a query found.

    Args:
        key: the document's key
        distance: the distance that the server returned; Euclidean distances are squared
        tags: the values of the requested tags
        id: the document's id
    """

    key: str
    distance: float
    tags: Mapping[str, str] = MappingProxyType({})
    id: str = ""


@parses(SEARCH)
def read_hits(reply: Any, schema: Schema) -> list[Hit]:
    """Reads the reply to :func:`commands.knn`; the hits are unordered.

    Raises:
        IncompleteResultError: if the server warns that it cut the query short
        IndexMismatchError: if a document lacks the id field
    """
    if isinstance(reply, dict):
        _refuse_warnings(reply)
        found = [(hit[b"id"], hit.get(b"extra_attributes")) for hit in reply[b"results"]]
    else:
        found = [(key, fields and to_dict(fields)) for key, fields in split_pairs(reply[1:])]
    # A document that was deleted or expired while the query ran has no fields.
    return [_hit(key, fields, schema) for key, fields in found if fields]


@parses(AGGREGATE)
def read_keys(reply: Any, schema: Schema) -> tuple[dict[str, str], int]:
    """Reads one page of the reply to :func:`commands.keys_with_tag` or :func:`commands.all_keys`.

    Returns:
        the ids of the documents by their keys, and the cursor, 0 at the end

    Raises:
        IncompleteResultError: if the server warns that it cut the query short
        IndexMismatchError: if a document lacks the id field
    """
    page, cursor = reply
    if isinstance(page, dict):
        _refuse_warnings(page)
        rows = [row and row.get(b"extra_attributes") for row in page[b"results"]]
    else:
        rows = [row and to_dict(row) for row in page[1:]]
    # A document that was deleted, or expired, while the query ran has no fields.
    found = [(to_text(row[b"__key"]), row) for row in rows if row and b"__key" in row]
    return {key: _id(key, row.get(_ID), schema) for key, row in found}, int(cursor)


@parses(AGGREGATE)
def read_cursor(reply: Any) -> int:
    """Reads the cursor in a page of the reply to FT.AGGREGATE; 0 at the end."""
    return int(reply[1])


@parses(SEARCH)
def read_some_keys(reply: Any) -> list[str]:
    """Reads the reply to :func:`commands.some_keys`.

    Raises:
        IncompleteResultError: if there are no keys because the server cut the query short
    """
    if not isinstance(reply, dict):
        return [to_text(key) for key in reply[1:]]
    found = [to_text(hit[b"id"]) for hit in reply[b"results"]]
    if not found:
        _refuse_warnings(reply)
    return found


@parses("CONFIG GET or FT.CONFIG GET")
def read_settings(reply: Any) -> dict[str, str]:
    """Reads parameters by name from the reply to :func:`commands.setting` or CONFIG GET."""
    if reply and isinstance(reply, (list, tuple)) and isinstance(reply[0], (list, tuple)):
        reply = [part for pair in reply for part in pair]  # FT.CONFIG returns a list of pairs
    return {str(name): str(value) for name, value in to_dict(decode(reply)).items()}


@parses(f"{SEARCH} or {AGGREGATE}")
def read_warnings(reply: Any) -> list[str]:
    """Reads the warnings in the reply to a query; only RESP3 has them."""
    return (
        [to_text(warning) for warning in reply.get(b"warning", ())]
        if isinstance(reply, dict)
        else []
    )


def _hit(key: bytes, fields: dict[bytes, bytes], schema: Schema) -> Hit:
    distance, name = float(fields.pop(_DISTANCE)), to_text(key)
    held = None
    if schema.id_field is not None:
        held = fields.pop(_ID, None) or fields.get(to_bytes(schema.id_field))
    id = _id(name, held, schema)
    if not fields:
        return Hit(name, distance, id=id)
    return Hit(name, distance, {name.decode(): to_text(v) for name, v in fields.items()}, id)


def _id(key: str, held: bytes | None, schema: Schema) -> str:
    if schema.id_field is None:
        for prefix in schema.key_prefixes:
            if key.startswith(prefix):
                return key[len(prefix) :]
        raise IndexMismatchError(
            f"The index {schema.name!r} returned a key with an unknown prefix ({key!r}); it was "
            "rebuilt, open it again."
        )
    if not held:
        raise IndexMismatchError(
            f"The document {key!r} of the index {schema.name!r} lacks the id field "
            f"{schema.id_field!r}; name the right field with id_field, or remove the document."
        )
    return to_text(held)


def _refuse_warnings(reply: Mapping[bytes, Any]) -> None:
    warnings = read_warnings(reply)
    cuts = [cut for warning in warnings if (cut := recognise_warning(warning)) is not None]
    if cuts:
        advice = "; ".join(dict.fromkeys(cut.value for cut in cuts))
        text = "; ".join(warnings)
        raise IncompleteResultError(f"The server cut the query short ({text}); {advice}.")
    for warning in warnings:
        if not is_known_note(warning):
            _log_once(warning)


@lru_cache(maxsize=100)
def _log_once(warning: str) -> None:
    logger.warning("Redis returned a warning with a query: %s", warning)
