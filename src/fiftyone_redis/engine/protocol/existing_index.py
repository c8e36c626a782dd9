"""Converts the fields and options in FT.INFO to arguments of FT.CREATE. No sockets.

Names are those of https://redis.io/docs/latest/commands/ft.create/, RediSearch 2.10 and Redis 8.6.
FT.INFO does not report PHONETIC of a TEXT field; EF_RUNTIME, EPSILON, BLOCK_SIZE and INITIAL_CAP
of a VECTOR field; TEMPORARY; and the aliases of an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fiftyone_redis.engine.schema.options import OPTIONS
from fiftyone_redis.engine.schema.schema import (
    FIFTYONE_ID,
    Field,
    Schema,
    attribute_field,
    single_value_tag,
)
from fiftyone_redis.errors import IndexMismatchError, list_first

# In the order of FT.CREATE's syntax.
FLAGS = (
    "NOSTEM",
    "CASESENSITIVE",
    "WITHSUFFIXTRIE",
    "INDEXEMPTY",
    "INDEXMISSING",
    "SORTABLE",
    "UNF",
    "NOINDEX",
)
"""The options of fields that take no value."""

FIELD_NAMES = ("identifier", "attribute", "type")
"""What FT.INFO tells of every field."""

_FIELD_KEYS = frozenset({*FIELD_NAMES, "flags"})
_BY_INFO_NAME = {
    option.info_name: name for name, option in OPTIONS.items() if option.info_name is not None
}
_DEFINITION = {
    "filter": "FILTER",
    "default_language": "LANGUAGE",
    "language_field": "LANGUAGE_FIELD",
    "default_score": "SCORE",
    "score_field": "SCORE_FIELD",
    "payload_field": "PAYLOAD_FIELD",
}
_OPTIONS = frozenset({"MAXTEXTFIELDS", "NOOFFSETS", "NOHL", "NOFIELDS", "NOFREQS"})

_MEMBER = r"""\.[^\W\d][\w-]*|\[(?:"[^"\\]+"|'[^'\\]+')\]"""
_SIMPLE_PATH = re.compile(rf"\$(?:{_MEMBER})+")
_SEPARATOR = re.compile(r"[^\w]+|_+")


def field_arguments(schema: Schema) -> list[str]:
    """Returns the FT.CREATE arguments of all fields except the searched vector field."""
    named = [*schema.tags, *([schema.id_field] if schema.id_field else [])]
    defined = {field.name for field in schema.fields}
    implied = [
        single_value_tag(name, schema.path(name), schema.storage)
        for name in dict.fromkeys(named)
        if name not in defined
    ]
    implied += [
        attribute_field(attribute, schema.path(attribute.name))
        for attribute in schema.attributes
        if attribute.name not in defined
    ]
    arguments: list[str] = []
    for field in (*implied, *(field for field in schema.fields if field.kind)):
        alias = [] if field.name == field.path else ["AS", field.name]
        arguments += [field.path, *alias, field.kind, *field.options]
    return arguments


def read_fields(
    attributes: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Reads the definitions of fields.

    Returns:
        the fields, and the properties that FT.CREATE has no argument for
    """
    found, lost = [], []
    for attribute in attributes:
        kind, name = str(attribute["type"]), str(attribute["attribute"])
        options, known = _read_field_options(kind, attribute)
        flags = [str(flag) for flag in attribute.get("flags", ())]
        options += [flag for flag in FLAGS if flag in flags]
        unknown = [flag for flag in flags if flag not in FLAGS]
        unknown += [str(key) for key in attribute if key not in _FIELD_KEYS | known]
        lost += [f"{option} of the field {name}" for option in unknown]
        found.append(Field(str(attribute["identifier"]), name, kind, tuple(options)))
    return tuple(found), tuple(lost)


def read_options(info: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads the options of an index, besides its storage, prefixes and fields.

    Returns:
        the options, and the properties that FT.CREATE has no argument for
    """
    definition = info["index_definition"]
    arguments: list[str] = []
    for key, option in _DEFINITION.items():
        value = definition.get(key)
        if value is not None and not (option == "SCORE" and float(value) == 1):
            arguments += [option, str(value)]
    flags = [str(flag) for flag in info.get("index_options", ())]
    arguments += [flag for flag in flags if flag in _OPTIONS]
    if "stopwords_list" in info:
        words = [str(word) for word in info["stopwords_list"]]
        arguments += ["STOPWORDS", str(len(words)), *words]
    lost = [flag for flag in flags if flag not in _OPTIONS]
    for key, value in definition.items():
        known = key in {"key_type", "prefixes", *_DEFINITION}
        if not known and str(value).lower() != "false":
            lost.append(f"{key} {value}")
    return tuple(arguments), tuple(lost)


def find_vector_field(info: Mapping[str, Any], wanted: str | None) -> Mapping[str, Any]:
    """Finds the vector field to search.

    Args:
        info: the parsed reply to FT.INFO
        wanted: its name or path; None if there is only one

    Raises:
        IndexMismatchError: if there is none, or there are several and none is named
    """
    name = info["index_name"]
    found = [a for a in info["attributes"] if a["type"] == "VECTOR"]
    if not found:
        raise IndexMismatchError(f"The index {name!r} has no vector field; choose another index.")
    names = list_first([repr(a["attribute"]) for a in found])
    if wanted is not None:
        named = [a for a in found if wanted in (a["attribute"], a["identifier"])]
        if not named:
            raise IndexMismatchError(
                f"The index {name!r} has no vector field {wanted!r}; its vector fields are {names}."
            )
        return _require_single_value(name, named[0], info)
    if len(found) > 1:
        raise IndexMismatchError(
            f"The index {name!r} has {len(found)} vector fields ({names}); name one with "
            "vector_field."
        )
    return _require_single_value(name, found[0], info)


def find_id_field(info: Mapping[str, Any], wanted: str | None) -> tuple[str | None, list[Field]]:
    """Finds the field that holds the ids.

    Args:
        info: the parsed reply to FT.INFO
        wanted: its name or path; None for the id field of FiftyOne's own backend, if there is one

    Returns:
        its name in queries, or None if the keys hold the ids; and its definition if only the
        documents have it, not the index
    """
    attributes = info["attributes"]
    if wanted is None:
        is_own = info["index_definition"]["key_type"] == "JSON" and any(
            a["attribute"] == FIFTYONE_ID and a["type"] == "TAG" for a in attributes
        )
        return FIFTYONE_ID if is_own else None, []
    named = [a["attribute"] for a in attributes if wanted in (a["attribute"], a["identifier"])]
    if named:
        return str(named[0]), []
    in_json = info["index_definition"]["key_type"] == "JSON" and not wanted.startswith("$")
    return wanted, [Field(f"$.{wanted}" if in_json else wanted, wanted, "")]


def is_single_value_path(path: str) -> bool:
    """Returns whether a JSON path consists of member names, so that it has one value."""
    return _SIMPLE_PATH.fullmatch(path) is not None


def drop_redundant_prefixes(prefixes: Sequence[str]) -> tuple[str, ...]:
    """Returns the prefixes without those that start with another one."""
    unique = list(dict.fromkeys(prefixes))
    return tuple(p for p in unique if not any(p != o and p.startswith(o) for o in unique))


def may_lack_separator(prefixes: Sequence[str]) -> bool:
    """Returns whether keys may have a separator after a prefix, as those of redisvl have."""
    return any(prefix and not _SEPARATOR.fullmatch(prefix[-1]) for prefix in prefixes)


def find_key_prefixes(prefixes: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
    """Returns the prefixes before the ids in keys, the one for new documents first.

    redisvl defines an index with the prefix ``docs`` and writes keys like ``docs:1``.

    Args:
        prefixes: the prefixes of the index
        keys: some of its keys
    """
    complete: list[str] = []
    for prefix in prefixes:
        rests = [key[len(prefix) :] for key in keys if key.startswith(prefix)]
        separator = _common_separator(rests) if may_lack_separator([prefix]) else ""
        complete.append(prefix + separator)
    return tuple(dict.fromkeys([*complete, *prefixes]))


def _common_separator(rests: Sequence[str]) -> str:
    """Returns the separator that all rests of keys start with; a colon if there are no keys."""
    if not rests:
        return ":"
    match = _SEPARATOR.match(min(rests))
    start = match[0] if match else ""
    while start and not all(rest.startswith(start) for rest in rests):
        start = start[:-1]
    return start


def _read_field_options(kind: str, attribute: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """Returns a field's options with values, and their names in FT.INFO."""
    if kind == "TEXT" and "WEIGHT" in attribute:
        weight = float(attribute["WEIGHT"])
        return (["WEIGHT", f"{weight:g}"] if weight != 1 else []), {"WEIGHT"}
    if kind == "TAG" and "SEPARATOR" in attribute:
        # A TAG in JSON has no separator by default.
        separator = str(attribute["SEPARATOR"])
        return (["SEPARATOR", separator] if separator else []), {"SEPARATOR"}
    if kind == "GEOSHAPE" and "coord_system" in attribute:
        return [str(attribute["coord_system"])], {"coord_system"}
    if kind == "VECTOR":
        arguments = {
            name: OPTIONS[name].arguments(value)
            for name, value in read_vector_settings(attribute).items()
        }
        # In the order of FT.CREATE's syntax.
        parts = [*arguments.pop("dtype", []), "DIM", attribute["dim"], *arguments.pop("metric", [])]
        parts += [part for more in arguments.values() for part in more]
        flat = [str(part) for part in parts]
        return [str(attribute["algorithm"]), str(len(flat)), *flat], {"dim", *_BY_INFO_NAME}
    return [], set()


def read_vector_settings(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the settings of a vector field that FT.INFO reports."""
    reported = {name: attribute[key] for key, name in _BY_INFO_NAME.items() if key in attribute}
    return {name: OPTIONS[name].read(value) for name, value in reported.items()}


def _require_single_value(
    name: str, attribute: Mapping[str, Any], info: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns a vector field, or raises if its path may have several values."""
    path = str(attribute["identifier"])
    is_json = info["index_definition"]["key_type"] == "JSON"
    if is_json and not is_single_value_path(path):
        raise IndexMismatchError(
            f"The path {path!r} of the index {name!r} may hold several vectors per document; only "
            "paths like $.vector are supported."
        )
    return attribute
