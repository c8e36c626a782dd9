"""Converts vectors to bytes and back. No Redis.

The server reads a vector as raw little-endian values of its type. Floats are rounded to the nearest
value of the type, ties to even, as in IEEE 754; a value too large for the type is refused, never
turned into infinity. For int8 and uint8, values must already be integers in range: quantizing
needs a scale that only the caller knows. ``checks.py`` has the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.errors import InputError, format_count, list_first

Array = npt.NDArray[Any]

_BFLOAT16_NAN = 0x7FC0
_NUMPY = {
    "float16": "<f2",
    "bfloat16": "<u2",
    "float32": "<f4",
    "float64": "<f8",
    "int8": "<i1",
    "uint8": "<u1",
}


def encode(matrix: Array, dtype: str) -> Array:
    """Converts vectors to the bytes that the server stores.

    Args:
        matrix: ``n x dim`` floats that passed :func:`check_vectors`
        dtype: one of :data:`~fiftyone_redis.engine.schema.options.DTYPES`

    Returns:
        an ``n x (dim * size)`` array of bytes; row ``i`` is the blob of vector ``i``
    """
    values = np.ascontiguousarray(_round(matrix, dtype))
    return values.view(np.uint8).reshape(len(matrix), matrix.shape[1] * values.itemsize)


def decode(blobs: Sequence[bytes], dtype: str, dim: int, ids: Sequence[str] | None = None) -> Array:
    """Converts bytes that the server stores to vectors.

    Args:
        blobs: one blob per vector
        dtype: one of :data:`~fiftyone_redis.engine.schema.options.DTYPES`
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
            f"Found {format_count(len(wrong), 'document')} without a {dtype} vector of dimension "
            f"{dim} ({named}); remove them, or add them again."
        )


def round_trip(matrix: Array, dtype: str) -> Array:
    """Returns vectors as they are read after they were stored: rounded to a type of the server."""
    return _widen(_round(matrix, dtype), dtype)


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


def _widen(held: Array, dtype: str) -> Array:
    """Converts stored values to a type that numpy can calculate with."""
    if dtype == "bfloat16":
        held = np.left_shift(held, 16, dtype="<u4").view("<f4")
    elif DTYPES[dtype] < 4:
        held = held.astype(np.float32)
    return held
