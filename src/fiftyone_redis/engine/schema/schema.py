"""The definition of an index: names, fields, settings. No input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from fiftyone_redis.engine.schema.options import DTYPES, IndexOptions, check_choice, match_choice
from fiftyone_redis.errors import InputError, SettingsError

STORAGES = ("HASH", "JSON")
"""The types of documents: HASH holds the bytes of a vector, JSON its numbers as text."""

NO_SEPARATOR = "\x1f"
"""The separator of a TAG that has one value: a character that should never occur."""

FIFTYONE_ID = "foid"
"""The name of the id field of FiftyOne's own backend."""

_SVS_DTYPES = ("float32", "float16")

MAX_DIM = 32_768
"""The largest dimension that the query engine accepts."""

SEPARATOR = "\x1e"
"""The separator of an attribute that is a TAG and may have several values."""

KINDS = ("TAG", "TEXT", "NUMERIC")
"""The field types of attributes: exact values, full text, numbers."""

DISTANCE = "distance"
"""The name under which queries return the distance; no field can have it."""


@dataclass(frozen=True)
class Attribute:
    """A field that other programs can filter by; this package writes it but never returns it.

    Args:
        name: the field's name
        kind: one of :data:`KINDS`
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Field:
    """A field of an index, other than the searched vector field.

    Args:
        path: the field of a HASH, or a JSON path
        name: its name in queries
        kind: ``"TAG"``, ``"TEXT"``, ``"NUMERIC"``, ``"GEO"``, ``"GEOSHAPE"`` or ``"VECTOR"``;
            empty if the documents have the field but the index does not
        options: the other arguments of its definition in FT.CREATE
    """

    path: str
    name: str
    kind: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Named:
    """The required parameters of a schema, which come before the settings."""

    name: str
    dim: int


@dataclass(frozen=True)
class Schema(IndexOptions, _Named):
    """The definition of a vector index.

    Args:
        name: the name that users pass: an alias, or the index's own name
        dim: the dimension of the vectors, 1..:data:`MAX_DIM`
        metric, algorithm, dtype and more: the settings in
            :data:`~fiftyone_redis.engine.schema.options.OPTIONS`
        prefix: the key prefix of new documents, which the id follows; by default the name and a
            colon
        vector_field: the field of a HASH, or the JSON path, that holds the vector
        tags: TAG fields that are written and read with every vector
        attributes: fields for other programs to filter by; a TAG may have several values
        id_field: the field that holds the id; None if the key holds it
        storage: one of :data:`STORAGES`
        vector_name: the name of the vector field in queries; by default ``vector_field``
        prefixes: the key prefixes that the server indexes; by default ``prefix`` alone. An empty
            prefix matches every key
        key_prefixes: the possible prefixes before an id, longest first; by default ``prefix`` alone
        fields: the field definitions of an index made by others; ``tags`` and ``id_field`` get a
            default definition if they are not among them
        options: the other arguments of FT.CREATE
        vectors_only: whether the index leaves out HASHes without a vector, which others may keep
            under the same prefix; by default, a new index of HASHes does
        lost: properties of the index that FT.CREATE has no argument for
        server_name: the index's own name on the server; by default ``name``

    Raises:
        SettingsError: if a value is not supported
        InputError: if the dimension is not a whole number in that range
    """

    prefix: str = ""
    vector_field: str = "vector"
    tags: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    id_field: str | None = None
    storage: str = "HASH"
    vector_name: str = ""
    prefixes: tuple[str, ...] = ()
    key_prefixes: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    options: tuple[str, ...] = ()
    vectors_only: bool | None = field(default=None, compare=False)
    lost: tuple[str, ...] = ()
    server_name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        super().__post_init__()
        if self.algorithm == "SVS-VAMANA":
            check_choice("dtype of SVS-VAMANA", self.dtype, _SVS_DTYPES)
        _check_dim(self.dim)
        storage = match_choice(self.storage, {name: name for name in STORAGES})
        object.__setattr__(self, "storage", storage)
        check_choice("storage", self.storage, STORAGES)
        for name in (self.vector_field, self.id_field, *self.tags):
            if name is not None and (not isinstance(name, str) or not name):
                raise SettingsError(f"The name of a field must be text, not {name!r}.")
        self._default("server_name", self.name)
        self._default("prefix", f"{self.name}:" if not self.prefixes else "")
        self._default("prefixes", (self.prefix,))
        self._default("key_prefixes", (self.prefix,))
        self._default("vector_name", self.vector_field.removeprefix("$."))
        if self.vectors_only is None:
            is_plain = self.storage == "HASH" and "FILTER" not in self.options
            object.__setattr__(self, "vectors_only", is_plain)
        if self.storage == "JSON" and not self.vector_field.startswith("$"):
            object.__setattr__(self, "vector_field", f"$.{self.vector_field}")

    @property
    def has_direct_keys(self) -> bool:
        """Whether a document's key is the prefix and the id, so that no lookup is needed."""
        return self.id_field is None and self.key_prefixes == (self.prefix,)

    @property
    def owns_prefix(self) -> bool:
        """Whether the index contains exactly the documents whose keys start with the prefix."""
        return (
            self.has_direct_keys
            and bool(self.prefix)
            and self.prefixes == (self.prefix,)
            and "FILTER" not in self.options
        )

    @property
    def vector_filter(self) -> str:
        """The FILTER that leaves out documents without a vector."""
        return f"exists(@{self.vector_name})"

    def id_of(self, key: str) -> str:
        """Returns the id in a key; the key itself if it has none of the prefixes."""
        start = next((p for p in self.key_prefixes if key.startswith(p)), "")
        return key[len(start) :]

    def path(self, name: str) -> str:
        """Returns the path of a field in documents, given its name in queries."""
        if name == self.vector_field:
            return name
        found = [field.path for field in self.fields if field.name == name]
        if found:
            return found[0]
        return f"$.{name}" if self.storage == "JSON" and not name.startswith("$") else name

    def tag(self, name: str) -> Field | None:
        """Returns the definition of a TAG field by its name, or None if there is none."""
        defined = [field for field in self.fields if field.name == name]
        if defined:
            return defined[0] if defined[0].kind == "TAG" else None
        known = name in self.tags or name == self.id_field
        return single_value_tag(name, self.path(name), self.storage) if known else None

    def _default(self, setting: str, value: object) -> None:
        if not getattr(self, setting):
            object.__setattr__(self, setting, value)


def _check_dim(dim: Any) -> None:
    is_whole = isinstance(dim, Integral) and not isinstance(dim, bool)
    if not is_whole or not 1 <= dim <= MAX_DIM:
        raise InputError(f"The dimension must be in 1..{MAX_DIM} and whole, not {dim!r}.")


def single_value_tag(name: str, path: str, storage: str) -> Field:
    """Returns the definition of a TAG with one value and exact matching."""
    # A TAG in JSON has no separator by default.
    separator = () if storage == "JSON" else ("SEPARATOR", NO_SEPARATOR)
    return Field(path, name, "TAG", (*separator, "CASESENSITIVE"))


def attribute_field(attribute: Attribute, path: str) -> Field:
    """Returns the definition of an attribute."""
    options = ("SEPARATOR", SEPARATOR, "CASESENSITIVE") if attribute.kind == "TAG" else ()
    return Field(path, attribute.name, attribute.kind, options)


def check_attributes(schema: Schema) -> None:
    """Raises a :class:`SettingsError` unless each attribute can be a field of a new index.

    Its name must be unique in the index and need no escapes in queries.
    """
    taken = {DISTANCE, schema.vector_field, *(f"vector_{dtype}" for dtype in DTYPES), *schema.tags}
    for attribute in schema.attributes:
        check_choice(f"kind of the attribute {attribute.name!r}:", attribute.kind, KINDS)
        if not re.fullmatch(r"\w+", attribute.name, re.ASCII):
            raise SettingsError(
                f"Unsupported name of an attribute {attribute.name!r}; use letters, digits and _."
            )
        if attribute.name in taken:
            raise SettingsError(
                f"The attribute {attribute.name!r} has the name of another field of the index; "
                "leave it out, or rename it."
            )
        taken.add(attribute.name)


def check_name(name: Any) -> None:
    """Raises a :class:`SettingsError` unless a name can serve as index name and key prefix."""
    is_text = isinstance(name, str) and name.isprintable()
    if not name or not is_text or any(c.isspace() for c in name):
        raise SettingsError(
            f"Unsupported index_name {name!r}; use printable characters without spaces."
        )
