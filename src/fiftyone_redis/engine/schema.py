"""What an index is: its name, its vectors' type and metric, its algorithm. No input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fiftyone_redis.engine.options import DTYPES, IndexOptions, check_choice
from fiftyone_redis.errors import InputError, SettingsError

STORAGES = ("HASH", "JSON")
"""How a server can hold a document: HASH takes a vector's bytes, JSON its numbers as text."""

NO_SEPARATOR = "\x1f"
"""What separates the values of a tag whose value is one value, whatever it holds."""

FIFTYONE_ID = "foid"
"""What FiftyOne's own backend calls the field that holds a document's id."""

_SVS_DTYPES = ("float32", "float16")

MAX_DIM = 32_768
"""The largest dimension that the query engine accepts."""

SEPARATOR = "\x1e"
"""Stands between the values of an attribute that is a TAG: ASCII's record separator."""

KINDS = ("TAG", "TEXT", "NUMERIC")
"""How an attribute can be indexed: whole values, the words of a text, a number."""

DISTANCE = "distance"
"""The name under which a query returns the distance, so that no field can have it."""


@dataclass(frozen=True)
class Attribute:
    """A field of the documents that is there for others to filter by; searches do not return it.

    Args:
        name: the field's name
        kind: one of :data:`KINDS`
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Field:
    """A field of an index, other than the one that is searched for vectors.

    Args:
        path: where a document holds it: the field of a HASH, or a JSON path
        name: what queries call it
        kind: ``"TAG"``, ``"TEXT"``, ``"NUMERIC"``, ``"GEO"``, ``"GEOSHAPE"`` or ``"VECTOR"``;
            empty if documents have the field, but the index does not
        options: the rest of its definition, as FT.CREATE takes it
    """

    path: str
    name: str
    kind: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Named:
    """What every index has to be told; it comes before the settings in a call."""

    name: str
    dim: int


@dataclass(frozen=True)
class Schema(IndexOptions, _Named):
    """The definition of a vector index.

    Args:
        name: the index's name, as people use it: an alias, or what the server calls the index
        dim: the vectors' dimension, at least 1
        metric, algorithm, dtype and more: the settings, which are those of
            :data:`~fiftyone_redis.engine.options.OPTIONS`
        prefix: what the keys of new documents start with; the rest of such a key is the
            document's id. Empty for the index's name and a colon
        vector_field: where a document holds its vector: the field of a HASH, or a JSON path
        tags: further fields, indexed as TAG, that are written and read with every vector
        attributes: fields for others to filter by; a TAG among them may have several values
        id_field: the field that holds a document's id; None if the key holds it
        storage: one of :data:`STORAGES`
        vector_name: what queries call the vector; by default as ``vector_field``
        prefixes: what the keys of the documents that the server indexes start with; by default
            ``prefix`` alone. A document with an empty text among them may have any key
        key_prefixes: what stands before the id in a key, longest first; by default ``prefix`` alone
        fields: the definitions of the fields of an index that others made; those of ``tags`` and
            ``id_field`` are made up where they are not among them
        options: what else the index was defined with, as FT.CREATE takes it
        lost: what else the server says of the index, which cannot be said to FT.CREATE
        server_name: what the server calls the index; by default ``name``

    Raises:
        SettingsError: if a value is not one of those
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
    lost: tuple[str, ...] = ()
    server_name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        super().__post_init__()
        if self.algorithm == "SVS-VAMANA":
            check_choice("dtype of SVS-VAMANA", self.dtype, _SVS_DTYPES)
        if not 1 <= self.dim <= MAX_DIM:
            raise InputError(f"The dimension must be in 1..{MAX_DIM}, not {self.dim}.")
        check_choice("storage", self.storage, STORAGES)
        for name in (self.vector_field, self.id_field, *self.tags):
            if name is not None and (not isinstance(name, str) or not name):
                raise SettingsError(f"The name of a field must be text, not {name!r}.")
        self._default("server_name", self.name)
        self._default("prefix", f"{self.name}:" if not self.prefixes else "")
        self._default("prefixes", (self.prefix,))
        self._default("key_prefixes", (self.prefix,))
        self._default("vector_name", self.vector_field.removeprefix("$."))
        if self.storage == "JSON" and not self.vector_field.startswith("$"):
            object.__setattr__(self, "vector_field", f"$.{self.vector_field}")

    @property
    def has_direct_keys(self) -> bool:
        """Whether the key of a document is known from its id: it is the prefix and the id."""
        return self.id_field is None and self.key_prefixes == (self.prefix,)

    @property
    def owns_prefix(self) -> bool:
        """Whether what starts with the prefix is the index's documents, all of them."""
        return (
            self.has_direct_keys
            and bool(self.prefix)
            and self.prefixes == (self.prefix,)
            and "FILTER" not in self.options
        )

    def id_of(self, key: str) -> str:
        """Returns the id that a key holds; the key itself if it starts with nothing known."""
        start = next((p for p in self.key_prefixes if key.startswith(p)), "")
        return key[len(start) :]

    def path(self, name: str) -> str:
        """Returns where a document holds a field, given what queries call it."""
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


def single_value_tag(name: str, path: str, storage: str) -> Field:
    """Returns the definition of a tag with one value, which is compared as it is."""
    # JSON strings are one value unless a separator is named.
    separator = () if storage == "JSON" else ("SEPARATOR", NO_SEPARATOR)
    return Field(path, name, "TAG", (*separator, "CASESENSITIVE"))


def attribute_field(attribute: Attribute, path: str) -> Field:
    """Returns the definition of an attribute."""
    options = ("SEPARATOR", SEPARATOR, "CASESENSITIVE") if attribute.kind == "TAG" else ()
    return Field(path, attribute.name, attribute.kind, options)


def check_attributes(schema: Schema) -> None:
    """Raises a :class:`SettingsError` unless each attribute can be a field of a new index.

    Queries can name it without escapes, and no other field of the index has its name.
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
                f"The attribute {attribute.name!r} would have the name of another field of the "
                "index; leave it out, or rename it."
            )
        taken.add(attribute.name)


def check_name(name: str) -> None:
    """Raises a :class:`SettingsError` unless the name can be an index's name and key prefix."""
    if not name or not name.isprintable() or any(c.isspace() for c in name):
        raise SettingsError(
            f"Unsupported index_name {name!r}; use printable characters without spaces."
        )
