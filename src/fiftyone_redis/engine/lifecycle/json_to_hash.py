"""Converts an index and its documents from JSON to HASH. No sockets.

The key of a HASH holds the id, so the id field ``foid`` of FiftyOne's own backend is dropped. Other
fields keep their names and values. Values that only JSON can hold, such as lists, are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fiftyone_redis.connection.protocol.wire import Command, to_bytes
from fiftyone_redis.engine.documents import formats
from fiftyone_redis.engine.protocol import existing_index
from fiftyone_redis.engine.schema.schema import FIFTYONE_ID, NO_SEPARATOR, Field, Schema
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import IndexMismatchError, list_first

_NAMING_FIELDS = ("FILTER", "LANGUAGE_FIELD", "SCORE_FIELD", "PAYLOAD_FIELD")
_KINDS = ("TAG", "TEXT", "NUMERIC", "GEO", "GEOSHAPE")


def convert_schema(schema: Schema, prefix: str) -> Schema:
    """Returns the schema of an index over HASH copies of JSON documents.

    Args:
        schema: the index over JSON documents
        prefix: the prefix of the copies

    Raises:
        IndexMismatchError: if a HASH cannot have some of its fields
    """
    odd = [f.name for f in schema.fields if f.kind not in (*_KINDS, "") or _member(f.path) is None]
    if _member(schema.vector_field) is None:
        odd.append(schema.vector_name)
    odd += [option for option in _NAMING_FIELDS if option in schema.options]
    if odd:
        raise IndexMismatchError(
            f"The index {schema.name!r} has fields that HASH documents cannot have: "
            f"{list_first(odd)}; it was left as it is."
        )
    id_field = None if schema.id_field == FIFTYONE_ID else schema.id_field
    fields = {f.name: _field(f) for f in schema.fields if f.name != FIFTYONE_ID}
    renamed = {name: field.name for name, field in fields.items()}
    vector = schema.vector_name.removeprefix("$.")
    return replace(
        schema,
        storage="HASH",
        vector_field=vector,
        vector_name=vector,
        id_field=renamed.get(id_field, id_field) if id_field else None,
        tags=tuple(renamed.get(tag, tag) for tag in schema.tags),
        attributes=tuple(
            replace(each, name=renamed.get(each.name, each.name)) for each in schema.attributes
        ),
        prefix=prefix,
        prefixes=(prefix,),
        key_prefixes=(prefix,),
        fields=tuple(fields.values()),
    )


def read_document(schema: Schema, id: str, reply: Any) -> tuple[dict[str, Any], bytes | None]:
    """Reads a whole JSON document.

    Args:
        schema: the index of the document
        id: the document's id
        reply: the reply to :func:`formats.read_document_command`

    Returns:
        its members except the vector, by name; and the vector's bytes, or None

    Raises:
        IndexMismatchError: if a HASH cannot hold some of its values
    """
    members = json.loads(reply)[0]
    vector = members.pop(_member(schema.vector_field), None) if isinstance(members, dict) else None
    odd = [name for name, value in members.items() if isinstance(value, (list, dict))]
    if odd:
        raise IndexMismatchError(
            f"The document of {id!r} holds lists or objects, which a HASH cannot hold: "
            f"{list_first(odd)}; the index was left as it is."
        )
    blob = None if vector is None else formats.encode_json_vector(schema, vector)
    return {name: value for name, value in members.items() if value is not None}, blob


def write_command(
    schema: Schema, key: bytes, id: str, members: Mapping[str, Any], vector: encoding.Array | None
) -> Command:
    """Returns the command that writes a whole HASH.

    Args:
        schema: the index of the HASH
        key: its key
        id: its id
        members: its fields except the vector
        vector: ``dim`` floats; None if the document has no vector
    """
    held = {name: value for name, value in members.items() if name != FIFTYONE_ID}
    if schema.id_field is not None:
        held[schema.id_field] = id
    command: Command = ["HSET", key]
    for name, value in held.items():
        command += [
            to_bytes(name),
            to_bytes(value if isinstance(value, str) else json.dumps(value)),
        ]
    if vector is not None:
        blob = encoding.encode(vector[np.newaxis], schema.dtype)[0].tobytes()
        command += [to_bytes(schema.vector_field), blob]
    return command


def _field(field: Field) -> Field:
    """Converts the definition of a field from JSON to HASH."""
    member = _member(field.path) or field.name
    options = field.options
    if field.kind == "TAG" and "SEPARATOR" not in options:
        # By default a TAG has no separator in JSON but one in a HASH: name one that never occurs.
        options = ("SEPARATOR", NO_SEPARATOR, *options)
    # A field without an alias is named by its path.
    name = member if field.name == field.path else field.name
    return Field(member, name, field.kind, options)


def _member(path: str) -> str | None:
    """Returns the name of a top-level member, or None if the path leads deeper."""
    if not path.startswith("$"):
        return path
    found = formats.split_path(path) if existing_index.is_single_value_path(path) else []
    return found[0] if len(found) == 1 else None
