"""What an index is: its name, its vectors' type and metric, its algorithm. No input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fiftyone_redis.engine.errors import InputError, SettingsError

METRICS = {"cosine": "COSINE", "dotproduct": "IP", "euclidean": "L2"}
"""FiftyOne's names of the metrics, and the query engine's."""

ALGORITHMS = ("FLAT", "HNSW", "SVS-VAMANA")
"""FLAT compares with every vector and is exact; the others walk a graph and are approximate."""

DTYPES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1}
"""The types in which a server can hold a vector's values, and their sizes in bytes."""

COMPRESSIONS = ("none", "LVQ8", "LVQ4", "LVQ4x4", "LVQ4x8", "LeanVec4x8", "LeanVec8x8")
"""How SVS-VAMANA can compress the vectors that it compares."""

_LEAST = {
    "m": 2,
    "ef_construction": 1,
    "ef_runtime": 1,
    "block_size": 1,
    "graph_max_degree": 1,
    "construction_window_size": 1,
    "search_window_size": 1,
}
_COMPRESSIBLE = ("float32", "float16")

MAX_DIM = 32_768
"""The largest dimension that the query engine accepts."""

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
class Schema:
    """The definition of a vector index.

    Args:
        name: the index's name
        dim: the vectors' dimension, at least 1
        metric: one of :data:`METRICS`
        algorithm: one of :data:`ALGORITHMS`
        dtype: one of :data:`DTYPES`
        prefix: what every document's key starts with; the rest of the key is the document's id
        vector_field: the field of a document that holds the vector
        tags: further fields of the documents, indexed as TAG, with one value each
        attributes: fields for others to filter by; a TAG among them may have several values
        id_field: the field that holds a document's id; None if that is the rest of its key
        m: HNSW's edges per vector and layer
        ef_construction: how many candidates HNSW keeps while it inserts a vector
        ef_runtime: how many candidates HNSW keeps while it answers a query; a query for more than
            that keeps as many as it asks for
        block_size: how many vectors FLAT allocates at a time. The server's own choice, 1024, makes
            blocks of vectors whose sizes are powers of two just too large for the allocator's size
            classes, and wastes a fifth of their memory
        graph_max_degree: SVS-VAMANA's edges per vector
        construction_window_size: how many candidates SVS-VAMANA keeps while it inserts a vector
        search_window_size: how many candidates SVS-VAMANA keeps while it answers a query; a query
            for more than that keeps as many as it asks for
        compression: one of :data:`COMPRESSIONS`, for SVS-VAMANA

    Raises:
        SettingsError: if a value is not one of those
    """

    name: str
    dim: int
    metric: str = "cosine"
    algorithm: str = "FLAT"
    dtype: str = "float32"
    prefix: str = ""
    vector_field: str = "vector"
    tags: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    id_field: str | None = None
    m: int = 32
    ef_construction: int = 200
    ef_runtime: int = 400
    block_size: int = 1023
    graph_max_degree: int = 32
    construction_window_size: int = 200
    search_window_size: int = 10
    compression: str = "none"

    def __post_init__(self) -> None:
        check_name(self.name)
        check_choice("metric", self.metric, tuple(METRICS))
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        check_choice("dtype", self.dtype, tuple(DTYPES))
        check_choice("compression", self.compression, COMPRESSIONS)
        if self.algorithm == "SVS-VAMANA":
            check_choice("dtype of SVS-VAMANA", self.dtype, _COMPRESSIBLE)
        for setting, least in _LEAST.items():
            check_at_least(setting, getattr(self, setting), least)
        if not 1 <= self.dim <= MAX_DIM:
            raise InputError(f"The dimension must be in 1..{MAX_DIM}, not {self.dim}.")
        if not self.prefix:
            object.__setattr__(self, "prefix", f"{self.name}:")


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


def check_choice(setting: str, value: str, supported: tuple[str, ...]) -> None:
    """Raises a :class:`SettingsError` unless the value is one of the supported ones."""
    if value not in supported:
        raise SettingsError(f"Unsupported {setting} {value!r}; use one of {', '.join(supported)}.")


def check_at_least(setting: str, value: int, least: int) -> None:
    """Raises a :class:`SettingsError` unless the value is a whole number and enough."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{setting} must be a whole number of at least {least}, not {value!r}.")


def check_name(name: str) -> None:
    """Raises a :class:`SettingsError` unless the name can be an index's name and key prefix."""
    if not name or not name.isprintable() or any(c.isspace() for c in name):
        raise SettingsError(
            f"Unsupported index_name {name!r}; use printable characters without spaces."
        )
