"""Sample fields stored beside the vectors: maps their types to field types of the index.

Values are read from MongoDB in batches, with one projection query per batch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone.core.fields as fof
import fiftyone.core.labels as fol
from bson import ObjectId

from fiftyone_redis.engine import Attribute
from fiftyone_redis.engine.documents.formats import FieldValues
from fiftyone_redis.engine.schema.options import match_choice
from fiftyone_redis.engine.schema.schema import KINDS, SEPARATOR
from fiftyone_redis.errors import SettingsError, format_count, list_first

RequestedFields = tuple[tuple[str, str | None], ...]
"""Field names, each with the requested kind; None to derive it from the field's type."""

# The kinds that each field type supports; the first one is the default.
_KINDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (fof.StringField, ("TAG", "TEXT")),
    (fof.BooleanField, ("TAG",)),
    (fof.ObjectIdField, ("TAG",)),
    (fof.IntField, ("NUMERIC",)),
    (fof.FloatField, ("NUMERIC",)),
    (fof.DateField, ("NUMERIC",)),
    (fof.DateTimeField, ("NUMERIC",)),
)

# The server ends a tag at a NUL, and joins words that are separated by a control character.
_IN_TAGS = str.maketrans({SEPARATOR: "\ufffd", "\0": "\ufffd"})
_IN_TEXTS = str.maketrans(dict.fromkeys(range(32), " "))


@dataclass(frozen=True)
class StoredField:
    """A field that is stored beside the vectors.

    Args:
        path: its name in the dataset; may omit the list of labels, as ``"ground_truth.label"``
            for ``"ground_truth.detections.label"``
        kind: one of :data:`~fiftyone_redis.engine.schema.schema.KINDS`
    """

    path: str
    kind: str

    @property
    def attribute(self) -> Attribute:
        """The attribute of the index; its name needs no escapes in queries.

        All characters of the path except letters and digits become underscores.
        """
        return Attribute(re.sub(r"\W", "_", self.path, flags=re.ASCII), self.kind)


def parse_fields(requested: Any) -> RequestedFields:
    """Parses a list of fields as given by users or saved in runs.

    Args:
        requested: field names, and pairs of a name and a kind; None for none

    Raises:
        SettingsError: if it is anything else, or a kind is unknown
    """
    if requested is None:
        return ()
    if isinstance(requested, (str, dict)) or not isinstance(requested, Iterable):
        raise SettingsError(
            f"attributes must be a list of field names, such as "
            f'["tags", "filepath", ("caption", "TEXT")], not {requested!r}.'
        )
    return tuple(_parse_field(item) for item in requested)


def _parse_field(item: Any) -> tuple[str, str | None]:
    if isinstance(item, str):
        return item, None
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        path, kind = item[0], match_choice(item[1], {name: name for name in KINDS})
        if kind is None or kind in KINDS:
            return path, kind
    raise SettingsError(
        f"Unsupported attribute {item!r}; use a field name, or a pair of a field name and one of "
        f"{', '.join(KINDS)}."
    )


def resolve_fields(
    samples: Any, patches_field: str | None, requested: RequestedFields
) -> tuple[StoredField, ...]:
    """Derives the kinds of fields from their types in the dataset.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` that is indexed
        patches_field: the field whose patches are indexed; None for an index of samples
        requested: the fields

    Raises:
        SettingsError: if fields do not exist, cannot be stored, or would have the same name in the
            index; names them
    """
    schema = samples._dataset.get_field_schema(flat=True)
    root = _label_root(schema, patches_field)
    wrong, found = [], []
    for path, kind in requested:
        kinds, reason = _kinds(schema, _full_path(schema, path), root)
        if reason:
            wrong.append(f"{path!r} ({reason})")
        elif kind not in (None, *kinds):
            wrong.append(f"{path!r} (can be {' or '.join(kinds)}, not {kind})")
        else:
            found.append(StoredField(path, kind or kinds[0]))
    if wrong:
        raise SettingsError(
            f"Cannot store {format_count(len(wrong), 'attribute')}: {list_first(wrong)}; correct "
            "or leave out what is named."
        )
    _refuse_same_names(found)
    return tuple(found)


def list_storable(samples: Any, patches_field: str | None) -> list[str]:
    """Lists the fields that can be stored beside the vectors.

    Args:
        samples: a :class:`fiftyone.core.collections.SampleCollection`
        patches_field: the field whose patches are indexed; None for an index of samples
    """
    schema = samples._dataset.get_field_schema(flat=True)
    root = _label_root(schema, patches_field)
    return [path for path in schema if _kinds(schema, path, root)[0]]


class StoredFieldReader:
    """Reads stored fields of samples, or of patches and their samples.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` that is indexed
        patches_field: the field whose patches are indexed; None for an index of samples
        fields: the fields; one that the dataset no longer has has no values
    """

    def __init__(
        self, samples: Any, patches_field: str | None, fields: Sequence[StoredField]
    ) -> None:
        dataset = samples._dataset
        schema = dataset.get_field_schema(flat=True)
        root = _label_root(schema, patches_field)
        paths = dataset._handle_db_fields([_full_path(schema, field.path) for field in fields])
        self._collection = dataset._sample_collection
        self._fields = fields
        self._root = root.split(".") if root else []
        self._of_label = [bool(root) and path.startswith(f"{root}.") for path in paths]
        self._parts = [
            path.removeprefix(f"{root}.").split(".") if of_label else path.split(".")
            for path, of_label in zip(paths, self._of_label, strict=True)
        ]
        self._projection = dict.fromkeys(["_id", *([f"{root}._id"] if root else []), *paths], True)

    def read_samples(self, ids: Sequence[str]) -> FieldValues:
        """Returns the field values of some samples, by the fields' names in the index."""
        found = self._fetch_documents(ids)
        return self._collect_values([(found.get(id), None) for id in ids])

    def read_labels(self, ids: Sequence[str], sample_ids: Sequence[str]) -> FieldValues:
        """Returns the field values of some patches, by the fields' names in the index.

        Args:
            ids: the ids of ``n`` labels
            sample_ids: the ids of their samples
        """
        found = self._fetch_documents(sample_ids)
        labels = {
            str(label["_id"]): label
            for sample in found.values()
            for label in _values(sample, self._root)
        }
        return self._collect_values(
            [(found.get(of), labels.get(id)) for id, of in zip(ids, sample_ids, strict=True)]
        )

    def _fetch_documents(self, ids: Sequence[str]) -> dict[str, Any]:
        wanted = {"_id": {"$in": [ObjectId(id) for id in {*ids} if ObjectId.is_valid(id)]}}
        return {str(doc["_id"]): doc for doc in self._collection.find(wanted, self._projection)}

    def _collect_values(self, documents: Sequence[tuple[Any, Any]]) -> FieldValues:
        """Returns field values, given pairs of a sample and a label; either may be None."""
        return {
            field.attribute.name: [
                _text(list(_values(pair[of_label], parts)), field.kind) for pair in documents
            ]
            for field, parts, of_label in zip(
                self._fields, self._parts, self._of_label, strict=True
            )
        }


def _kinds(schema: Mapping[str, Any], path: str, root: str) -> tuple[tuple[str, ...], str]:
    """Returns the kinds that a field supports, or none and the reason."""
    if path not in schema:
        return (), "no such field"
    field, many = _leaf(schema[path])
    if isinstance(field, fof.EmbeddedDocumentField):
        return (), "has fields of its own; name one of them"
    kinds = next((kinds for kind, kinds in _KINDS if isinstance(field, kind)), ())
    if not kinds:
        return (), f"a field of type {type(field).__name__}"
    if kinds == ("NUMERIC",) and (many or _in_list(schema, path, root)):
        return (), "several numbers; only one can be stored"
    return kinds, ""


def _leaf(field: Any) -> tuple[Any, bool]:
    """Returns the innermost type of a field, and whether the field is a list."""
    many = False
    while isinstance(field, fof.ListField):
        field, many = field.field, True
    return field, many


def _in_list(schema: Mapping[str, Any], path: str, root: str) -> bool:
    """Returns whether a sample, or a label of the root, may have several values of a field."""
    parts = path.split(".")
    parents = [".".join(parts[:end]) for end in range(1, len(parts))]
    return any(_leaf(schema[parent])[1] for parent in parents if parent != root)


def _full_path(schema: Mapping[str, Any], path: str) -> str:
    """Returns a path completed with the list of labels, if it omits that."""
    parent, _, name = path.rpartition(".")
    return path if path in schema or not parent else f"{_label_root(schema, parent)}.{name}"


def _label_root(schema: Mapping[str, Any], field: str | None) -> str:
    """Returns the path of a field's list of labels; the field itself if it has no list."""
    held = schema.get(field or "")
    labels: Any = held.document_type if isinstance(held, fof.EmbeddedDocumentField) else object
    if not issubclass(labels, fol._HasLabelList):
        return field or ""
    return f"{field}.{labels._LABEL_LIST_FIELD}"


def _refuse_same_names(fields: Sequence[StoredField]) -> None:
    paths: dict[str, list[str]] = {}
    for field in fields:
        paths.setdefault(field.attribute.name, []).append(repr(field.path))
    same = [f"{' and '.join(those)} as {name}" for name, those in paths.items() if len(those) > 1]
    if same:
        raise SettingsError(
            f"Attributes would have the same name in the index: {list_first(same)}."
        )


def _values(document: Any, parts: Sequence[str]) -> Iterator[Any]:
    """Yields all values of a path in a MongoDB document, including those in lists, except None."""
    if isinstance(document, list):
        for item in document:
            yield from _values(item, parts)
    elif document is not None and not parts:
        yield document
    elif isinstance(document, dict):
        yield from _values(document.get(parts[0]), parts[1:])


def _text(values: Sequence[Any], kind: str) -> str | None:
    """Converts the values of a field to the text stored in the index; None if there are none."""
    if not values:
        return None
    if kind == "NUMERIC":
        return _number(values[0])
    texts = dict.fromkeys(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    if kind == "TAG":
        return SEPARATOR.join(text.translate(_IN_TAGS) for text in texts)
    return ", ".join(text.translate(_IN_TEXTS) for text in texts)


def _number(value: Any) -> str | None:
    """Converts a number or time to text; returns None for NaN and other values.

    The server does not index a document at all if it cannot parse a number.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return repr(aware.timestamp())
    if not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return str(+value)
