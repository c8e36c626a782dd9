"""Reads what FT.INFO says of an index: its schema, its documents and its state. No sockets.

Replies are as ``replies.py`` says. ``existing_index.py`` reads the fields and options.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fiftyone_redis.connection.protocol.parsing import parses
from fiftyone_redis.connection.protocol.wire import (
    INFO,
    decode,
    split_pairs,
    to_dict,
)
from fiftyone_redis.engine.protocol import existing_index
from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES
from fiftyone_redis.engine.schema.schema import (
    KINDS,
    SEPARATOR,
    Attribute,
    Field,
    Schema,
    attribute_field,
    single_value_tag,
)
from fiftyone_redis.errors import IncompleteResultError, IndexMismatchError


@parses(INFO)
def read_info(reply: Any) -> dict[str, Any]:
    """Reads the reply to FT.INFO as text, with definition and attributes as dictionaries."""
    info = {str(name): value for name, value in to_dict(decode(reply)).items()}
    definition = info["index_definition"] = to_dict(info["index_definition"])
    info["attributes"] = [_attribute(attribute) for attribute in info["attributes"]]
    names = [info["index_name"], definition["key_type"], *definition["prefixes"]]
    names += [each[name] for each in info["attributes"] for name in existing_index.FIELD_NAMES]
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return info


class IndexingState(NamedTuple):
    """The progress of indexing.

    Args:
        documents: the number of indexed documents
        is_complete: whether all documents are indexed
        share: the share of documents that are indexed, 0..1
    """

    documents: int
    is_complete: bool
    share: float


@parses(INFO)
def read_indexing(reply: Any) -> IndexingState:
    """Reads the progress of indexing from the reply to FT.INFO.

    Raises:
        IncompleteResultError: if the reply has no number of documents, or a negative one
    """
    info = to_dict(reply)
    documents = _number_of_documents(info.get(b"num_docs"))
    return IndexingState(documents, not int(info[b"indexing"]), float(info[b"percent_indexed"]))


@parses(INFO)
def read_documents(info: Mapping[str, Any]) -> int:
    """Reads the number of documents from the result of :func:`read_info`.

    Raises:
        IncompleteResultError: if the reply has no number of documents, or a negative one
    """
    return _number_of_documents(info.get("num_docs"))


@parses(INFO)
def read_identity(reply: Any) -> tuple[Any, ...]:
    """Reads the parts of the reply to FT.INFO that change when the index is rebuilt or replaced."""
    info = to_dict(reply)
    return info[b"index_name"], info[b"index_definition"], info[b"attributes"]


@parses(INFO)
def read_index_bytes(info: Mapping[str, Any]) -> int:
    """Reads the memory of an index in bytes, without its documents.

    It is the sum over the index's parts, since the server's own total leaves out the vectors. A
    megabyte in FT.INFO has 1,048,576 bytes.

    Args:
        info: the result of :func:`read_info`
    """
    parts = (
        float(size)
        for part, size in info.items()
        if part.endswith(("_sz_mb", "_size_mb")) and not part.startswith("total_")
    )
    return round(1_048_576 * sum(parts))


@parses(INFO)
def read_last_failure(info: Mapping[str, Any]) -> tuple[str, str]:
    """Reads the last indexing error and the key of its document; empty texts if there is none."""
    errors = to_dict(info.get("Index Errors", {}))
    why, key = (errors.get(f"last indexing error{part}", "") for part in ("", " key"))
    return str(why), str(key)


@parses(INFO)
def read_prefixes(info: Mapping[str, Any], storage: str) -> tuple[str, ...]:
    """Returns the key prefixes of an index; none if its storage is another one.

    An empty prefix matches every key.
    """
    definition = info["index_definition"]
    is_same = definition["key_type"] == storage
    return tuple(definition["prefixes"]) or ("",) if is_same else ()


@parses(INFO)
def read_schema(
    info: Mapping[str, Any],
    *,
    vector_field: str | None = None,
    id_field: str | None = None,
    tags: Sequence[str] | None = None,
    keys: Sequence[str] = (),
) -> Schema:
    """Reads the schema of an index from the result of :func:`read_info`.

    Args:
        info: the parsed reply to FT.INFO
        vector_field: the vector field; None if there is only one
        id_field: the field that holds the ids; None if the keys hold them
        tags: the TAG fields to write and read with every vector; None for all
        keys: keys of some documents, if :func:`existing_index.may_lack_separator`

    Raises:
        IndexMismatchError: if it has no vector field, several and none is named, or one of an
            unsupported type or algorithm
    """
    name, storage = info["index_name"], info["index_definition"]["key_type"]
    vector = existing_index.find_vector_field(info, vector_field)
    id_name, unknown = existing_index.find_id_field(info, id_field)
    others, lost = existing_index.read_fields(a for a in info["attributes"] if a is not vector)
    read = _choose_tags(others, id_name, tags)
    return Schema(
        name=name,
        dim=int(vector["dim"]),
        vector_field=vector["identifier"],
        tags=read,
        attributes=_attributes(others, id_name),
        storage=storage,
        vector_name=vector["attribute"],
        id_field=id_name,
        fields=(*(f for f in others if not _is_implied(f, {*read, id_name}, storage)), *unknown),
        **_read_options(info, vector, lost),
        **_read_key_prefixes(info, keys),
        **_supported_settings(name, vector),
    )


def _choose_tags(
    fields: Iterable[Field], id_name: str | None, wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Returns those of the wanted tags that are TAG fields of one value; all if None is given."""
    tags = [f.name for f in fields if f.kind == "TAG" and SEPARATOR not in f.options]
    chosen = [tag for tag in tags if tag != id_name] if wanted is None else wanted
    return tuple(tag for tag in chosen if tag in tags)


def _read_options(
    info: Mapping[str, Any], vector: Mapping[str, Any], lost: Iterable[str]
) -> dict[str, Any]:
    """Returns the options of an index, and what FT.CREATE has no argument for."""
    options, lost_options = existing_index.read_options(info)
    vectors_only = options[:2] == ("FILTER", f"exists(@{vector['attribute']})")
    flags = [f"{flag} of the field {vector['attribute']}" for flag in vector.get("flags", ())]
    return {
        "options": options[2:] if vectors_only else options,
        "vectors_only": vectors_only,
        "lost": (*lost, *lost_options, *flags),
    }


def _read_key_prefixes(info: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Returns what a schema says of prefixes: those of the index, and those of its keys."""
    prefixes = read_prefixes(info, info["index_definition"]["key_type"])
    starts = existing_index.find_key_prefixes(
        existing_index.drop_redundant_prefixes(prefixes), keys
    )
    longest_first = tuple(sorted(starts, key=len, reverse=True))
    return {"prefix": starts[0], "prefixes": prefixes, "key_prefixes": longest_first}


def _supported_settings(name: str, vector: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of an index, read from its vector field."""
    settings = existing_index.read_vector_settings(vector)
    if settings["dtype"] not in DTYPES or settings["algorithm"] not in ALGORITHMS:
        kind = f"{settings['algorithm']} of {settings['dtype'].lower()}"
        raise IndexMismatchError(f"The index {name!r} is {kind}, which is not supported.")
    return settings


def _attributes(fields: Iterable[Field], id_name: str | None) -> tuple[Attribute, ...]:
    """Returns which fields are for others to filter by."""
    return tuple(
        Attribute(f.name, f.kind)
        for f in fields
        if f.name != id_name and (f.kind in ("TEXT", "NUMERIC") or SEPARATOR in f.options)
    )


def _number_of_documents(reported: Any) -> int:
    # A cluster with missing nodes may report a negative number or none.
    if reported is None or int(reported) < 0:
        raise IncompleteResultError(
            f"The server does not report how many documents the index has (num_docs: {reported}); "
            "try again when all nodes of the server are up."
        )
    return int(reported)


def _is_implied(field: Field, named: set[str | None], storage: str) -> bool:
    """Returns whether FT.CREATE gets a field from the schema's tags, id field or attributes."""
    path = f"$.{field.name}" if storage == "JSON" else field.name
    if field.name in named:
        return field == single_value_tag(field.name, path, storage)
    known = field.kind in KINDS
    return known and field == attribute_field(Attribute(field.name, field.kind), path)


def _attribute(flat: Any) -> dict[str, Any]:
    """Reads an attribute; in RESP2 it ends with flags that have no value, such as SORTABLE."""
    if isinstance(flat, dict):
        return flat
    first = next(
        (at for at in range(6, len(flat), 2) if flat[at] in existing_index.FLAGS), len(flat)
    )
    return {**dict(split_pairs(flat[:first])), "flags": list(flat[first:])}
