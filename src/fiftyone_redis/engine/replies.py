"""Reads the query engine's replies, undecoded as redis-py hands them over. No sockets.

In RESP2 they are flat lists of names and values, in RESP3 maps. Their forms are those of
https://redis.io/docs/latest/commands/ under FT.AGGREGATE, FT.INFO and FT.SEARCH;
``tests/shared/recordings`` holds real ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from fiftyone_redis.connection.refusals import is_known_note, recognise_warning
from fiftyone_redis.connection.wire import by_two, decoded, pairs, raw, text
from fiftyone_redis.engine import existing_index
from fiftyone_redis.engine.commands import ID
from fiftyone_redis.engine.options import ALGORITHMS, DTYPES
from fiftyone_redis.engine.schema import (
    DISTANCE,
    KINDS,
    SEPARATOR,
    Attribute,
    Field,
    Schema,
    attribute_field,
    single_value_tag,
)
from fiftyone_redis.errors import IncompleteResultError, IndexMismatchError

_DISTANCE = DISTANCE.encode()
_ID = ID.encode()

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)


class Hit(NamedTuple):
    """One document that a query found.

    Args:
        key: the document's key
        distance: its distance in the engine's own unit, the square of the Euclidean one
        tags: the values of the tags that were asked for
        id: its id
    """

    key: str
    distance: float
    tags: Mapping[str, str] = MappingProxyType({})
    id: str = ""


def read_hits(reply: Any, schema: Schema) -> list[Hit]:
    """Reads the reply to :func:`commands.knn`, in the order of the reply.

    Raises:
        IncompleteResultError: if the server says that it cut the query short
        IndexMismatchError: if a document lacks the field that holds the ids
    """
    if isinstance(reply, dict):
        _refuse_warnings(reply)
        found = [(hit[b"id"], hit[b"extra_attributes"]) for hit in reply[b"results"]]
    else:
        found = [(key, fields and pairs(fields)) for key, fields in by_two(reply[1:])]
    # A document that expired while the query ran has no fields.
    return [_hit(key, fields, schema) for key, fields in found if fields is not None]


def read_keys(reply: Any, schema: Schema) -> tuple[dict[str, str], int]:
    """Reads one page of the reply to :func:`commands.keys_with_tag` or :func:`commands.all_keys`.

    Returns:
        the ids of the documents by their keys, and the cursor (0 at the end)

    Raises:
        IncompleteResultError: if the server says that it cut the query short
        IndexMismatchError: if a document lacks the field that holds the ids
    """
    page, cursor = reply
    if isinstance(page, dict):
        _refuse_warnings(page)
        rows = [row[b"extra_attributes"] for row in page[b"results"]]
    else:
        rows = [pairs(row) for row in page[1:]]
    # A document that was deleted while the query ran has no fields.
    found = [(text(row[b"__key"]), row) for row in rows if b"__key" in row]
    return {key: _id(key, row.get(_ID), schema) for key, row in found}, int(cursor)


def read_some_keys(reply: Any) -> list[str]:
    """Reads the reply to :func:`commands.some_keys`.

    Raises:
        IncompleteResultError: if there are none because the server cut the query short
    """
    if not isinstance(reply, dict):
        return [text(key) for key in reply[1:]]
    found = [text(hit[b"id"]) for hit in reply[b"results"]]
    if not found:
        _refuse_warnings(reply)
    return found


def read_info(reply: Any) -> dict[str, Any]:
    """Reads the reply to FT.INFO, as text, with its definition and attributes as dictionaries."""
    info = {str(name): value for name, value in pairs(decoded(reply)).items()}
    info["index_definition"] = pairs(info["index_definition"])
    info["attributes"] = [_attribute(attribute) for attribute in info["attributes"]]
    return info


class IndexingState(NamedTuple):
    """How far a server is with an index.

    Args:
        documents: how many documents it has indexed
        is_complete: whether these are all
        share: which share of them it has indexed, 0..1
    """

    documents: int
    is_complete: bool
    share: float


def read_indexing(reply: Any) -> IndexingState:
    """Reads from the reply to FT.INFO how many documents the index has, and whether it has all.

    Raises:
        IncompleteResultError: if the server tells no number, or one that cannot be
    """
    info = pairs(reply)
    documents = _number_of_documents(info.get(b"num_docs"))
    return IndexingState(documents, not int(info[b"indexing"]), float(info[b"percent_indexed"]))


def read_documents(info: Mapping[str, Any]) -> int:
    """Reads from what :func:`read_info` returned how many documents the index has.

    Raises:
        IncompleteResultError: if the server tells no number, or one that cannot be
    """
    return _number_of_documents(info.get("num_docs"))


def read_identity(reply: Any) -> tuple[Any, ...]:
    """Reads from the reply to FT.INFO what changes when the index becomes another one, as it is."""
    info = pairs(reply)
    return info[b"index_name"], info[b"index_definition"], info[b"attributes"]


def read_settings(reply: Any) -> dict[str, str]:
    """Reads settings by their names from the reply to :func:`commands.setting` or CONFIG GET."""
    if reply and isinstance(reply, (list, tuple)) and isinstance(reply[0], (list, tuple)):
        reply = [part for pair in reply for part in pair]  # FT.CONFIG has a list for each
    return {str(name): str(value) for name, value in pairs(decoded(reply)).items()}


def read_warnings(reply: Any) -> list[str]:
    """Reads what a query's reply warns of, which only RESP3 has."""
    return (
        [text(warning) for warning in reply.get(b"warning", ())] if isinstance(reply, dict) else []
    )


def read_index_bytes(info: Mapping[str, Any]) -> int:
    """Reads from :func:`read_info` how many bytes an index takes, without its documents.

    They are the sum of its parts: the total that the server tells leaves out the vectors. What the
    server calls a megabyte has 1,048,576 bytes.
    """
    parts = (
        float(size)
        for part, size in info.items()
        if part.endswith(("_sz_mb", "_size_mb")) and not part.startswith("total_")
    )
    return round(1_048_576 * sum(parts))


def read_last_failure(info: Mapping[str, Any]) -> tuple[str, str]:
    """Reads from :func:`read_info` why a document was last not indexed, and its key; or nothing."""
    told = pairs(info.get("Index Errors", {}))
    return told.get("last indexing error", ""), told.get("last indexing error key", "")


def read_prefixes(info: Mapping[str, Any], storage: str) -> tuple[str, ...]:
    """Returns the prefixes of an index's documents; none if they are of another storage.

    An empty prefix stands for every key.
    """
    said = info["index_definition"]
    return tuple(said["prefixes"]) or ("",) if said["key_type"] == storage else ()


def read_schema(
    info: Mapping[str, Any],
    *,
    vector_field: str | None = None,
    id_field: str | None = None,
    tags: Sequence[str] | None = None,
    keys: Sequence[str] = (),
) -> Schema:
    """Reads an index's definition from what :func:`read_info` returned.

    Args:
        info: what the server says of the index
        vector_field: the field of its vectors, where there are several
        id_field: the field of its documents' ids, if not their keys hold them
        tags: which TAG fields to write and read with every vector; None for all
        keys: some of its documents' keys, if :func:`existing_index.may_lack_separator`

    Raises:
        IndexMismatchError: if it has no vector field, several and none is named, or one of a kind
            that is not supported
    """
    name, storage = info["index_name"], info["index_definition"]["key_type"]
    vector = existing_index.find_vector_field(info, vector_field)
    settings = existing_index.read_vector_settings(vector)
    if settings["dtype"] not in DTYPES or settings["algorithm"] not in ALGORITHMS:
        kind = f"{settings['algorithm']} of {settings['dtype'].lower()}"
        raise IndexMismatchError(f"The index {name!r} is {kind}, which is not supported.")
    id_name, unknown = existing_index.find_id_field(info, id_field)
    others, lost = existing_index.read_fields(a for a in info["attributes"] if a is not vector)
    all_tags = [f.name for f in others if f.kind == "TAG" and SEPARATOR not in f.options]
    wanted = [tag for tag in all_tags if tag != id_name] if tags is None else tags
    read = tuple(tag for tag in wanted if tag in all_tags)
    options, lost_options = existing_index.read_options(info)
    flags = [f"{flag} of the field {vector['attribute']}" for flag in vector.get("flags", ())]
    prefixes = read_prefixes(info, storage)
    starts = existing_index.find_key_prefixes(
        existing_index.drop_redundant_prefixes(prefixes), keys
    )
    return Schema(
        name=name,
        dim=int(vector["dim"]),
        prefix=starts[0],
        vector_field=vector["identifier"],
        tags=read,
        attributes=tuple(
            Attribute(f.name, f.kind)
            for f in others
            if f.name != id_name and (f.kind in ("TEXT", "NUMERIC") or SEPARATOR in f.options)
        ),
        storage=storage,
        vector_name=vector["attribute"],
        id_field=id_name,
        prefixes=prefixes,
        key_prefixes=tuple(sorted(starts, key=len, reverse=True)),
        fields=(*(f for f in others if not _is_implied(f, {*read, id_name}, storage)), *unknown),
        options=options,
        lost=(*lost, *lost_options, *flags),
        **settings,
    )


def _number_of_documents(told: Any) -> int:
    # A cluster that lacks a part may add up to less than nothing, or leave it out.
    if told is None or int(told) < 0:
        raise IncompleteResultError(
            f"The server does not tell how many documents the index has (num_docs: {told}); repeat "
            "this when it, or its cluster, is well."
        )
    return int(told)


def _is_implied(field: Field, named: set[str | None], storage: str) -> bool:
    """Returns whether a field is one that FT.CREATE gets without its definition being noted."""
    path = f"$.{field.name}" if storage == "JSON" else field.name
    if field.name in named:
        return field == single_value_tag(field.name, path, storage)
    known = field.kind in KINDS
    return known and field == attribute_field(Attribute(field.name, field.kind), path)


def _hit(key: bytes, fields: dict[bytes, bytes], schema: Schema) -> Hit:
    distance, name = float(fields.pop(_DISTANCE)), text(key)
    held = None
    if schema.id_field is not None:
        held = fields.pop(_ID, None) or fields.get(raw(schema.id_field))
    id = _id(name, held, schema)
    if not fields:
        return Hit(name, distance, id=id)
    return Hit(name, distance, {name.decode(): text(v) for name, v in fields.items()}, id)


def _id(key: str, held: bytes | None, schema: Schema) -> str:
    if schema.id_field is None:
        for prefix in schema.key_prefixes:
            if key.startswith(prefix):
                return key[len(prefix) :]
        raise IndexMismatchError(
            f"The index {schema.name!r} has documents of other names than when it was opened "
            f"({key!r}); it was rebuilt, open it again."
        )
    if not held:
        raise IndexMismatchError(
            f"The document {key!r} of the index {schema.name!r} has no {schema.id_field!r}, the "
            "field that holds the ids; name the right one with id_field, or remove the document."
        )
    return text(held)


def _refuse_warnings(reply: Mapping[bytes, Any]) -> None:
    warnings = read_warnings(reply)
    cuts = [cut for warning in warnings if (cut := recognise_warning(warning)) is not None]
    if cuts:
        advice = "; ".join(dict.fromkeys(cut.value for cut in cuts))
        said = "; ".join(warnings)
        raise IncompleteResultError(f"The server cut the query short ({said}); {advice}.")
    for warning in warnings:
        if not is_known_note(warning):
            _log_once(warning)


@lru_cache(maxsize=100)
def _log_once(warning: str) -> None:
    logger.warning("Redis says with an answer: %s", warning)


def _attribute(flat: Any) -> dict[str, Any]:
    """Reads an attribute, which in RESP2 ends with flags that have no value (SORTABLE and such)."""
    if isinstance(flat, dict):
        return flat
    first = next(
        (at for at in range(6, len(flat), 2) if flat[at] in existing_index.FLAGS), len(flat)
    )
    return {**dict(by_two(flat[:first])), "flags": list(flat[first:])}
