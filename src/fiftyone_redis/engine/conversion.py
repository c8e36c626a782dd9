"""Documents from HASH to JSON and back: their fields, and what they hold. No sockets.

In JSON they look as FiftyOne's own backend writes them: the id is in a field, ``foid``, too. In a
HASH the key alone holds it. Other fields keep their names and values; what only JSON can hold, such
as lists, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fiftyone_redis.engine import codec, definition, storage
from fiftyone_redis.engine.errors import IndexMismatchError, some
from fiftyone_redis.engine.protocol import Command, raw, text
from fiftyone_redis.engine.replies import pairs
from fiftyone_redis.engine.schema import FIFTYONE_ID, NO_SEPARATOR, Field, Schema

_NAMING_FIELDS = ("FILTER", "LANGUAGE_FIELD", "SCORE_FIELD", "PAYLOAD_FIELD")
_KINDS = ("TAG", "TEXT", "NUMERIC", "GEO", "GEOSHAPE")


def converted(schema: Schema, prefix: str) -> Schema:
    """Returns an index over the same documents in the other form, under another prefix.

    Raises:
        IndexMismatchError: if it has fields that the other form cannot have
    """
    odd = [f.name for f in schema.fields if f.kind not in (*_KINDS, "") or _member(f.path) is None]
    if _member(schema.vector_field) is None:
        odd.append(schema.vector_name)
    odd += [option for option in _NAMING_FIELDS if option in schema.options]
    target = "JSON" if schema.storage == "HASH" else "HASH"
    if odd:
        raise IndexMismatchError(
            f"The index {schema.name!r} has fields that {target} documents cannot have: "
            f"{some(odd)}; it was left as it is."
        )
    id_field = schema.id_field
    if target == "JSON":
        id_field = id_field or FIFTYONE_ID
    elif id_field == FIFTYONE_ID:
        id_field = None
    fields = {
        field.name: _field(field, target)
        for field in schema.fields
        if target == "JSON" or field.name != FIFTYONE_ID or id_field == FIFTYONE_ID
    }
    renamed = {name: field.name for name, field in fields.items()}
    vector = schema.vector_name.removeprefix("$.")
    return replace(
        schema,
        storage=target,
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


def read(schema: Schema, id: str, reply: Any) -> tuple[dict[str, Any], bytes | None]:
    """Reads a whole document.

    Args:
        schema: the index that it is in
        id: its id
        reply: the reply to :func:`storage.read_whole`

    Returns:
        what it holds besides the vector, by the names of its members, and the vector's bytes

    Raises:
        IndexMismatchError: if it holds what the other form cannot hold
    """
    vector = _member(schema.vector_field)
    if schema.storage == "HASH":
        fields = dict(pairs(reply))
        blob = fields.pop(raw(schema.vector_field), None)
        numbers = {f.path for f in schema.fields if f.kind == "NUMERIC"}
        numbers |= {schema.path(a.name) for a in schema.attributes if a.kind == "NUMERIC"}
        return {
            text(k): _number(v) if text(k) in numbers else _text(id, k, v)
            for k, v in fields.items()
        }, blob
    members = json.loads(reply)[0]
    held = members.pop(vector, None) if isinstance(members, dict) else None
    odd = [name for name, value in members.items() if isinstance(value, (list, dict))]
    if odd:
        raise IndexMismatchError(
            f"The document of {id!r} holds lists or objects, which a HASH cannot hold: "
            f"{some(odd)}; the index was left as it is."
        )
    blob = None if held is None else storage.blob(schema, held)
    return {name: value for name, value in members.items() if value is not None}, blob


def write(
    schema: Schema, key: str, id: str, members: Mapping[str, Any], vector: codec.Array | None
) -> Command:
    """Returns the command that writes a whole document.

    Args:
        schema: the index that it will be in
        key: its key
        id: its id
        members: what it holds besides the vector
        vector: ``dim`` floats, if it has a vector
    """
    held = {name: value for name, value in members.items() if name != FIFTYONE_ID}
    if schema.id_field is not None:
        held[_member(schema.path(schema.id_field)) or schema.id_field] = id
    if schema.storage == "JSON":
        if vector is not None:
            held[_member(schema.vector_field) or ""] = storage.exact(schema, vector[np.newaxis])[0]
        return ["JSON.SET", raw(key), "$", json.dumps(held)]
    command: Command = ["HSET", raw(key)]
    for name, value in held.items():
        command += [raw(name), raw(value if isinstance(value, str) else json.dumps(value))]
    if vector is not None:
        blob = codec.encode(vector[np.newaxis], schema.dtype)[0].tobytes()
        command += [raw(schema.vector_field), blob]
    return command


def _field(field: Field, target: str) -> Field:
    """Returns a field's definition for documents of the other form."""
    member = _member(field.path) or field.name
    options = field.options
    if field.kind == "TAG":
        # JSON's tags are one value unless a separator is named, those of a HASH unless it is odd.
        plain = ("SEPARATOR", NO_SEPARATOR)
        if target == "JSON" and options[:2] == plain:
            options = options[2:]
        elif target == "HASH" and "SEPARATOR" not in options:
            options = (*plain, *options)
    # A field without a name of its own is called by its path, which starts with "$." in JSON only.
    name = member if field.name == field.path else field.name
    return Field(f"$.{member}" if target == "JSON" else member, name, field.kind, options)


def _member(path: str) -> str | None:
    """Returns the name of the member at the top of a document, or None if it is further down."""
    if not path.startswith("$"):
        return path
    found = storage.members(path) if definition.is_one_place(path) else []
    return found[0] if len(found) == 1 else None


def _number(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return text(value)


def _text(id: str, name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise IndexMismatchError(
            f"The document of {id!r} holds bytes in {text(name)!r}, which JSON cannot hold; the "
            "index was left as it is."
        ) from None
