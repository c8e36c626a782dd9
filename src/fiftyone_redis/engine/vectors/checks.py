"""Checks vectors (shape, dimension, type, values) and ids before anything is sent. No Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors.encoding import Array, round_trip
from fiftyone_redis.errors import InputError, format_count, list_first

_BLOCK_ROWS = 4096
_INTEGER_TYPES = ("int8", "uint8")


def as_matrix(vectors: npt.ArrayLike, dim: int | None = None) -> Array:
    """Returns vectors as a matrix of floats, without a copy if they are one already.

    Args:
        vectors: ``n x dim`` numbers, or ``n`` sequences of ``dim`` numbers
        dim: the expected dimension, or None for any

    Returns:
        an ``n x dim`` array of a float type

    Raises:
        InputError: if they are not a matrix of numbers, or have another dimension
    """
    try:
        matrix = np.asarray(vectors)
    except ValueError as error:
        raise _shape_error(vectors) from error
    if matrix.shape == (0,):
        matrix = np.zeros((0, dim or 0))
    if matrix.dtype == object and matrix.ndim:
        matrix = _from_objects(matrix)
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"The vectors hold values of type {matrix.dtype}, not numbers.")
    if matrix.ndim != 2:
        raise InputError(
            f"The vectors have the shape {matrix.shape}; expected one row per vector, n x dim."
        )
    if dim is not None and matrix.shape[1] != dim and len(matrix):
        raise InputError(
            f"The vectors have dimension {matrix.shape[1]}, but the index has dimension {dim}."
        )
    return matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64)


def check_vectors(matrix: Array, schema: Schema, ids: Sequence[str] | None = None) -> None:
    """Raises unless the server can index every vector.

    Args:
        matrix: ``n x dim`` floats
        schema: the index
        ids: the vectors' ids, for error messages; row numbers by default

    Raises:
        InputError: if vectors hold NaN, infinities or values that the index's type cannot hold,
            or are zero and the metric is cosine; names the first few
    """
    bad: dict[str, list[int]] = {}
    for start in range(0, len(matrix), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        for reason, rows in _bad_rows(block, schema):
            bad.setdefault(reason, []).extend(int(row) + start for row in rows)
    for reason, offenders in bad.items():
        if offenders:
            named = [repr(ids[row]) if ids is not None else f"row {row}" for row in offenders]
            raise InputError(
                f"Some vectors {reason} ({len(offenders)} of {len(matrix)}): {list_first(named)}."
            )


def check_queries(matrix: Array, schema: Schema) -> None:
    """Raises unless every query can be compared with an index's vectors.

    Args:
        matrix: ``n x dim`` floats
        schema: the index

    Raises:
        InputError: as :func:`check_vectors`, except that queries of an integer index may be floats:
            means of vectors and embeddings of prompts seldom are integers
    """
    check_vectors(
        matrix, replace(schema, dtype="float32") if schema.dtype in _INTEGER_TYPES else schema
    )


def can_hold(matrix: Array, dtype: str) -> bool:
    """Returns whether a type can hold finite vectors: an integer type holds only integers in range.

    Args:
        matrix: ``n x dim`` floats
        dtype: one of :data:`~fiftyone_redis.engine.schema.options.DTYPES`
    """
    return dtype not in _INTEGER_TYPES or not _not_integers(matrix, dtype).any()


def check_ids(
    ids: Sequence[str], count: int, tags: Mapping[str, Sequence[str]], schema: Schema
) -> None:
    """Raises unless ids are unique texts, and each has a vector and a value of each tag.

    Args:
        ids: the ids
        count: the number of vectors
        tags: the values of each tag
        schema: the index

    Raises:
        InputError: if something is wrong; names the first few
    """
    unknown = [repr(tag) for tag in tags if tag not in schema.tags]
    if unknown:
        raise InputError(f"The index {schema.name!r} has no tags named {list_first(unknown)}.")
    lengths = {f"values of {tag}": len(values) for tag, values in tags.items()}
    for name, length in {"vectors": count, **lengths}.items():
        if length != len(ids):
            raise InputError(
                f"The number of ids ({len(ids)}) differs from the number of {name} ({length})."
            )
    _check_texts("ids", ids)
    if "" in ids:
        raise InputError("An id is empty; ids must have at least one character.")
    with_nul = [repr(id) for id in ids if "\0" in id] if schema.vectors_only else []
    if with_nul:
        raise InputError(
            f"Found {format_count(len(with_nul), 'id')} with a NUL character, which the server "
            f"cannot index: {list_first(with_nul)}; choose other ids."
        )
    for tag, values in tags.items():
        _check_texts(f"values of {tag}", values)
    if len(set(ids)) < len(ids):
        twice = [repr(id) for id, times in Counter(ids).items() if times > 1]
        raise InputError(
            f"Found {format_count(len(twice), 'id')} given more than once: {list_first(twice)}; "
            "give each id once."
        )


def check_ids_to_read(ids: Sequence[str]) -> None:
    """Raises an :class:`InputError` unless ids are texts that keys could hold."""
    _check_texts("ids", ids, "surrogateescape")


def _check_texts(name: str, texts: Sequence[str], errors: str = "strict") -> None:
    wrong = [repr(text) for text in texts if not isinstance(text, str)]
    if wrong:
        raise InputError(f"The {name} must be text, not {list_first(wrong)}.")
    try:
        "".join(texts).encode(errors=errors)
    except UnicodeEncodeError:
        odd = [repr(text) for text in texts if not text.isprintable()]
        raise InputError(f"Some {name} cannot be encoded as UTF-8: {list_first(odd)}.") from None


def _bad_rows(block: Array, schema: Schema) -> Iterator[tuple[str, Array]]:
    """Yields each reason to refuse vectors, with the rows of a block that it applies to."""
    if schema.dtype in _INTEGER_TYPES:
        yield from _bad_integer_rows(block, schema)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        held = round_trip(block, schema.dtype)
        # The server also sums the squares in this type.
        norms = np.einsum("ij,ij->i", held, held)
    searchable = np.isfinite(norms)
    if searchable.all() and norms.all():
        return
    suspects = np.flatnonzero(~searchable)
    finite = np.isfinite(block[suspects]).all(axis=1)
    yield "hold NaN or infinite values", suspects[~finite]
    yield f"hold values too large for {schema.dtype}", suspects[finite]
    if schema.metric == "cosine":
        yield "are zero, which has no cosine distance", np.flatnonzero(norms == 0)


def _bad_integer_rows(block: Array, schema: Schema) -> Iterator[tuple[str, Array]]:
    finite = np.isfinite(block).all(axis=1)
    limits = np.iinfo(schema.dtype)
    range_ = f"{limits.min}..{limits.max}"
    reason = f"hold values that are not integers in {range_}, as {schema.dtype} requires"
    yield "hold NaN or infinite values", np.flatnonzero(~finite)
    yield reason, np.flatnonzero(finite & _not_integers(block, schema.dtype).any(axis=1))
    if schema.metric == "cosine":
        yield "are zero, which has no cosine distance", np.flatnonzero(~block.any(axis=1))


def _not_integers(values: Array, dtype: str) -> Array:
    """Returns a mask of the values that are not integers in a type's range."""
    limits = np.iinfo(dtype)
    broken: Array = (values != np.rint(values)) | (values < limits.min) | (values > limits.max)
    return broken


def _from_objects(matrix: Array) -> Array:
    """Converts an array of objects to numbers: decimals, for instance, but not ragged rows."""
    try:
        return np.stack([np.asarray(row, dtype=np.float64) for row in matrix])
    except (TypeError, ValueError) as error:
        raise _shape_error(matrix) from error


def _shape_error(vectors: Any) -> InputError:
    """Returns the error for rows that do not form a matrix."""
    lengths = [len(row) if hasattr(row, "__len__") else 1 for row in vectors]
    odd = [f"row {i} has {n}" for i, n in enumerate(lengths) if n != lengths[0]]
    if not odd:
        return InputError("The vectors hold values that are not numbers.")
    return InputError(
        f"The vectors differ in length: row 0 has {lengths[0]} values, {list_first(odd)}."
    )
