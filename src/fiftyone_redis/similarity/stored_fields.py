"""Sample fields stored beside the vectors: their types as kinds of the index, their values as text.

Values are read from MongoDB as it holds them, a batch of documents at a time, with one query that
returns nothing but these fields.
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
from fiftyone_redis.engine.document_formats import FieldValues
from fiftyone_redis.engine.schema import KINDS, SEPARATOR
from fiftyone_redis.errors import SettingsError, some

RequestedFields = tuple[tuple[str, str | None], ...]
"""Fields by name, each with the kind that was asked for, or None."""

# The kinds that a type of field can have; the first one unless another is asked for.
_KINDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (fof.StringField, ("TAG", "TEXT")),
    (fof.BooleanField, ("TAG",)),
    (fof.ObjectIdField, ("TAG",)),
    (fof.IntField, ("NUMERIC",)),
    (fof.FloatField, ("NUMERIC",)),
    (fof.DateField, ("NUMERIC",)),
    (fof.DateTimeField, ("NUMERIC",)),
)

# The server ends a tag's value at a NUL, and glues words together that a control character divides.
_IN_TAGS = str.maketrans({SEPARATOR: "\ufffd", "\0": "\ufffd"})
_IN_TEXTS = str.maketrans(dict.fromkeys(range(32), " "))


@dataclass(frozen=True)
class StoredField:
    """A field that is stored beside the vectors.

    Args:
        path: its name in the dataset; a list of labels may be left out of it, so that
            ``"ground_truth.label"`` can stand for ``"ground_truth.detections.label"``
        kind: one of :data:`~fiftyone_redis.engine.schema.KINDS`
    """

    path: str
    kind: str

    @property
    def attribute(self) -> Attribute:
        """The attribute of the index: the path, with an underscore for all but letters and digits.

        The query language can name it without escapes.
        """
        return Attribute(re.sub(r"\W", "_", self.path, flags=re.ASCII), self.kind)


def parse_fields(requested: Any) -> RequestedFields:
    """Reads a list of fields as users write it, and as runs are saved.

    Args:
        requested: field names, and pairs of a name and a kind; None for none

    Raises:
        SettingsError: if it is anything else
    """
    if requested is None:
        return ()
    if isinstance(requested, (str, dict)) or not isinstance(requested, Iterable):
        raise SettingsError(
            f"attributes must be a list of field names, not {requested!r}; for instance "
            '["tags", "filepath", ("caption", "TEXT")].'
        )
    return tuple(_parse_field(item) for item in requested)


def _parse_field(item: Any) -> tuple[str, str | None]:
    if isinstance(item, str):
        return item, None
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        path, kind = item
        if kind is None or kind in KINDS:
            return path, kind
    raise SettingsError(
        f"Unsupported attribute {item!r}; use the name of a field, or a pair of that and one of "
        f"{', '.join(KINDS)}."
    )


def resolve_fields(
    samples: Any, patches_field: str | None, requested: RequestedFields
) -> tuple[StoredField, ...]:
    """Finds the kinds of fields from their types in the dataset.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` that is indexed
        patches_field: the field whose patches are indexed; None for an index of samples
        requested: which fields

    Raises:
        SettingsError: naming the fields that do not exist or cannot be stored, or whose names the
            index cannot tell apart
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
        raise SettingsError(f"{len(wrong)} attributes cannot be stored: {some(wrong)}.")
    _refuse_same_names(found)
    return tuple(found)


class StoredFieldReader:
    """Reads stored fields of samples, or of patches and their samples.

    Args:
        samples: the :class:`fiftyone.core.collections.SampleCollection` that is indexed
        patches_field: the field whose patches are indexed; None for an index of samples
        fields: which fields; those that the dataset no longer has are without values
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
        """Returns for each field's name in the index the values of some samples."""
        found = self._fetch_documents(ids)
        return self._collect_values([(found.get(id), None) for id in ids])

    def read_labels(self, ids: Sequence[str], sample_ids: Sequence[str]) -> FieldValues:
        """Returns for each field's name in the index the values of some patches.

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
        """Returns the values of documents: of a sample and a label, or of None."""
        return {
            field.attribute.name: [
                _text(list(_values(pair[of_label], parts)), field.kind) for pair in documents
            ]
            for field, parts, of_label in zip(
                self._fields, self._parts, self._of_label, strict=True
            )
        }


def _kinds(schema: Mapping[str, Any], path: str, root: str) -> tuple[tuple[str, ...], str]:
    """Returns the kinds that a field can have, or none and the reason."""
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
    """Returns what a field holds, and whether it holds several of that."""
    many = False
    while isinstance(field, fof.ListField):
        field, many = field.field, True
    return field, many


def _in_list(schema: Mapping[str, Any], path: str, root: str) -> bool:
    """Returns whether a field is one of several, for a sample, or for a label of the root."""
    parts = path.split(".")
    parents = [".".join(parts[:end]) for end in range(1, len(parts))]
    return any(_leaf(schema[parent])[1] for parent in parents if parent != root)


def _full_path(schema: Mapping[str, Any], path: str) -> str:
    """Returns the path within a list of labels for one that leaves the list out."""
    parent, _, name = path.rpartition(".")
    return path if path in schema or not parent else f"{_label_root(schema, parent)}.{name}"


def _label_root(schema: Mapping[str, Any], field: str | None) -> str:
    """Returns the path of the labels that a field holds; the field's own where it is no list."""
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
        raise SettingsError(f"Attributes would have the same name in the index: {some(same)}.")


def _values(document: Any, parts: Sequence[str]) -> Iterator[Any]:
    """Yields what a path leads to in a document of MongoDB, in lists too; nothing for None."""
    if isinstance(document, list):
        for item in document:
            yield from _values(item, parts)
    elif document is not None and not parts:
        yield document
    elif isinstance(document, dict):
        yield from _values(document.get(parts[0]), parts[1:])


def _text(values: Sequence[Any], kind: str) -> str | None:
    """Returns the values of a field as the index holds them; None for none."""
    if not values:
        return None
    if kind == "NUMERIC":
        return _number(values[0])
    texts = dict.fromkeys(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    if kind == "TAG":
        return SEPARATOR.join(text.translate(_IN_TAGS) for text in texts)
    return ", ".join(text.translate(_IN_TEXTS) for text in texts)


def _number(value: Any) -> str | None:
    """Returns a number as text; None for what the server could not read as one.

    It would not index the document at all.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return repr(aware.timestamp())
    if not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return str(+value)
