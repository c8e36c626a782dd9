"""Converts vectors to bytes and back, and checks their shape, type and values. No Redis.

The server reads a vector as raw little-endian values of its type. Floats are rounded to the nearest
value of the type, ties to even, as in IEEE 754; a value too large for the type is refused, never
turned into infinity. For int8 and uint8, values must already be integers in range: quantizing
needs a scale that only the caller knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine.options import DTYPES
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import InputError, list_first

Array = npt.NDArray[Any]

_BLOCK_ROWS = 4096
_BFLOAT16_NAN = 0x7FC0
_NUMPY = {
    "float16": "<f2",
    "bfloat16": "<u2",
    "float32": "<f4",
    "float64": "<f8",
    "int8": "<i1",
    "uint8": "<u1",
}
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
                f"{len(offenders)} of {len(matrix)} vectors {reason}: {list_first(named)}."
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
        dtype: one of :data:`~fiftyone_redis.engine.options.DTYPES`
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
    for name, length in {"vectors": count, **{tag: len(v) for tag, v in tags.items()}}.items():
        if length != len(ids):
            raise InputError(f"There are {len(ids)} ids but {length} {name}.")
    _check_texts("ids", ids)
    if "" in ids:
        raise InputError("An id is empty.")
    with_nul = [repr(id) for id in ids if "\0" in id] if schema.vectors_only else []
    if with_nul:
        raise InputError(
            f"{len(with_nul)} ids hold a NUL character, and the server leaves such documents out "
            f"of the index: {list_first(with_nul)}."
        )
    for tag, values in tags.items():
        _check_texts(f"values of {tag}", values)
    if len(set(ids)) < len(ids):
        twice = [repr(id) for id, times in Counter(ids).items() if times > 1]
        raise InputError(f"{len(twice)} ids occur more than once: {list_first(twice)}.")


def check_ids_to_read(ids: Sequence[str]) -> None:
    """Raises an :class:`InputError` unless ids are texts that keys could hold."""
    _check_texts("ids", ids, "surrogateescape")


def _check_texts(name: str, texts: Sequence[str], errors: str = "strict") -> None:
    wrong = [repr(text) for text in texts if not isinstance(text, str)]
    if wrong:
        raise InputError(f"{len(wrong)} {name} are not text: {list_first(wrong)}.")
    try:
        "".join(texts).encode(errors=errors)
    except UnicodeEncodeError:
        odd = [repr(text) for text in texts if not text.isprintable()]
        raise InputError(f"Some {name} cannot be encoded as UTF-8: {list_first(odd)}.") from None


def encode(matrix: Array, dtype: str) -> Array:
    """Converts vectors to the bytes that the server stores.

    Args:
        matrix: ``n x dim`` floats that passed :func:`check_vectors`
        dtype: one of :data:`~fiftyone_redis.engine.options.DTYPES`

    Returns:
        an ``n x (dim * size)`` array of bytes; row ``i`` is the blob of vector ``i``
    """
    values = np.ascontiguousarray(_round(matrix, dtype))
    return values.view(np.uint8).reshape(len(matrix), matrix.shape[1] * values.itemsize)


def decode(blobs: Sequence[bytes], dtype: str, dim: int, ids: Sequence[str] | None = None) -> Array:
    """Converts bytes that the server stores to vectors.

    Args:
        blobs: one blob per vector
        dtype: one of :data:`~fiftyone_redis.engine.options.DTYPES`
        dim: the vectors' dimension
        ids: the vectors' ids, for error messages; row numbers by default

    Returns:
        an ``n x dim`` array: float64 for float64, else float32, which holds the other types exactly

    Raises:
        InputError: if the length of a blob is not that of a vector
    """
    check_lengths(blobs, dtype, dim, ids)
    values = np.frombuffer(b"".join(blobs), _NUMPY[dtype]).reshape(-1, dim)
    return _widen(values, dtype)


def check_lengths(
    blobs: Sequence[bytes], dtype: str, dim: int, ids: Sequence[str] | None = None
) -> None:
    """Raises an :class:`InputError` for blobs that :func:`decode` cannot convert, naming them."""
    size = DTYPES[dtype] * dim
    wrong = [row for row, blob in enumerate(blobs) if len(blob) != size]
    if wrong:
        named = list_first([str(row) if ids is None else repr(ids[row]) for row in wrong])
        raise InputError(
            f"{len(wrong)} documents hold no {dtype} vector of dimension {dim} ({named}); remove "
            "them, or add them again."
        )


def _round(matrix: Array, dtype: str) -> Array:
    if dtype != "bfloat16":
        return matrix.astype(_NUMPY[dtype], copy=False)
    # bfloat16 is the upper half of a float32; adding half a unit of its last place, or just less
    # where that place is even, rounds to nearest, ties to even.
    values = np.ascontiguousarray(matrix, "<f4")
    if matrix.dtype.itemsize > values.itemsize:
        values = _round_to_odd(matrix, values)
    bits = np.where(np.isnan(values), np.uint32(_BFLOAT16_NAN << 16), values.view("<u4"))
    rounded: Array = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2")


def _round_to_odd(exact: Array, rounded: Array) -> Array:
    """Rounds to odd float32 values, so that rounding them again equals rounding the exact values.

    Inexact values are truncated and their last bit is set, so they are never a tie and stay on the
    right side of one (S. Boldo, G. Melquiond, Emulation of FMA and correctly rounded sums, 2008).
    """
    bits = rounded.view("<u4") - (np.abs(rounded) > np.abs(exact))
    return np.where(rounded == exact, rounded, (bits | 1).astype("<u4").view("<f4"))


def _bad_rows(block: Array, schema: Schema) -> Iterator[tuple[str, Array]]:
    """Yields each reason to refuse vectors, with the rows of a block that it applies to."""
    if schema.dtype in _INTEGER_TYPES:
        yield from _bad_integer_rows(block, schema)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        held = _widen(_round(block, schema.dtype), schema.dtype)
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
    limits = np.iinfo(_NUMPY[schema.dtype])
    range_ = f"{limits.min}..{limits.max}"
    reason = f"hold values that are not integers in {range_}, as {schema.dtype} requires"
    yield "hold NaN or infinite values", np.flatnonzero(~finite)
    yield reason, np.flatnonzero(finite & _not_integers(block, schema.dtype).any(axis=1))
    if schema.metric == "cosine":
        yield "are zero, which has no cosine distance", np.flatnonzero(~block.any(axis=1))


def _not_integers(values: Array, dtype: str) -> Array:
    """Returns a mask of the values that are not integers in a type's range."""
    limits = np.iinfo(_NUMPY[dtype])
    broken: Array = (values != np.rint(values)) | (values < limits.min) | (values > limits.max)
    return broken


def _widen(held: Array, dtype: str) -> Array:
    """Converts stored values to a type that numpy can calculate with."""
    if dtype == "bfloat16":
        held = np.left_shift(held, 16, dtype="<u4").view("<f4")
    elif DTYPES[dtype] < 4:
        held = held.astype(np.float32)
    return held


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
