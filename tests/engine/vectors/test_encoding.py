"""Vectors to bytes and back: no server."""

import struct
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.vectors.checks import as_matrix, check_vectors
from fiftyone_redis.engine.vectors.encoding import decode, encode
from fiftyone_redis.errors import InputError

FLOATS = [dtype for dtype in DTYPES if "int" not in dtype]
BFLOAT16_MAX = float.fromhex("0x1.fep127")
FLOAT32_MAX = float(np.finfo(np.float32).max)


def blobs(matrix: np.ndarray, dtype: str) -> list[bytes]:
    return [row.tobytes() for row in encode(matrix, dtype)]


def round_trip(matrix: np.ndarray, dtype: str) -> np.ndarray:
    return decode(blobs(matrix, dtype), dtype, matrix.shape[1])


def as_float32(bits: np.ndarray) -> np.ndarray:
    return bits.astype("<u4").view("<f4")


def hard_float32s() -> np.ndarray:
    """Returns values of all sizes, many at or just beside the middle of two bfloat16."""
    rng = np.random.default_rng(51)
    upper = rng.integers(0, 0x7F7F, 400, dtype=np.uint32) << 16
    lower = np.tile([0x0000, 0x7FFF, 0x8000, 0x8001], 100).astype(np.uint32)
    values = as_float32(upper | lower)
    return np.concatenate([values, -values, [0.0, -0.0, 1.0, as_float32(np.array([1]))[0]]])


def nearest_bfloat16(value: float) -> float:
    """Returns the nearest bfloat16, of two as near the even one, by exact fractions."""
    [bits] = struct.unpack("<I", struct.pack("<f", abs(value)))
    below, above = (upper << 16 for upper in (bits >> 16, (bits >> 16) + 1))
    near = sorted(
        (abs(Fraction(abs(value)) - Fraction(held)), upper >> 16 & 1, held)
        for upper in (below, above)
        for held in struct.unpack("<f", struct.pack("<I", upper))
    )
    return float(np.copysign(near[0][2], value))


def test_float32_comes_back_bit_by_bit():
    bits = np.random.default_rng(51).integers(0, 0x7F800000, (50, 8), dtype=np.uint32)
    matrix = as_float32(bits)
    assert np.array_equal(round_trip(matrix, "float32").view("<u4"), bits)
    assert blobs(matrix, "float32")[7] == struct.pack("<8f", *matrix[7])


def test_float64_comes_back_bit_by_bit():
    matrix = np.random.default_rng(51).normal(size=(50, 8)) * 1e-200
    assert round_trip(matrix, "float64").tobytes() == matrix.tobytes()
    assert blobs(matrix, "float64")[7] == struct.pack("<8d", *matrix[7])


def test_float16_is_rounded_to_nearest_ties_to_even():
    halves = np.random.default_rng(51).integers(0, 0x7BFF, 400, dtype=np.uint16)
    below, above = halves.view("<f2"), (halves + 1).astype(np.uint16).view("<f2")
    middle = (below.astype(np.float64) + above.astype(np.float64)) / 2
    matrix = np.stack([middle, -middle, np.nextafter(middle, 0), np.nextafter(middle, 1e9)])
    expected = [struct.pack("<400e", *row) for row in matrix]
    assert blobs(matrix, "float16") == expected
    assert round_trip(matrix, "float16").tolist() == [
        list(struct.unpack("<400e", blob)) for blob in expected
    ]


def test_bfloat16_is_rounded_to_nearest_ties_to_even():
    values = hard_float32s()
    [row] = round_trip(values[np.newaxis], "bfloat16")
    assert row.tolist() == [nearest_bfloat16(float(value)) for value in values]
    assert np.array_equal(np.signbit(row), np.signbit(values))


@pytest.mark.parametrize("value", [1 + 2**-8 + 2**-30, 1 + 3 * 2**-8 - 2**-30])
def test_bfloat16_is_rounded_to_nearest_from_float64_too(value):
    nearest = min((1.0, 1 + 2**-7, 1 + 2**-6), key=lambda held: abs(held - value))
    assert round_trip(np.array([[value]]), "bfloat16").tolist() == [[nearest]]


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_a_type_can_hold_comes_back_the_same(dtype):
    matrix = np.array([[0.5, -1.25, 96.0], [0.0, -0.0, 2.0**-14]])
    back = round_trip(matrix, dtype)
    assert back.tolist() == matrix.tolist()
    assert back.dtype == (np.float64 if dtype == "float64" else np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_takes_the_bytes_of_its_type(dtype):
    assert encode(np.ones((3, 5)), dtype).shape == (3, 5 * DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_vectors_are_no_bytes(dtype):
    assert encode(np.zeros((0, 5)), dtype).shape == (0, 5 * DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_bytes_are_no_vectors(dtype):
    assert decode([], dtype, 5).shape == (0, 5)


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_bytes_of_another_length_are_refused(size):
    with pytest.raises(InputError, match="1 document without a float32 vector of dimension 2"):
        decode([bytes(8), bytes(size)], "float32", 2)


@pytest.mark.parametrize(
    ("dtype", "row", "blob"),
    [
        ("int8", [-128, -1, 0, 127], b"\x80\xff\x00\x7f"),
        ("uint8", [0, 1, 128, 255], b"\x00\x01\x80\xff"),
    ],
)
def test_whole_numbers_come_back_the_same(dtype, row, blob):
    for matrix in (np.array([row], np.float16), np.array([row], np.float64), as_matrix([row])):
        check_vectors(matrix, Schema("i", 4, dtype=dtype))
        assert blobs(matrix, dtype) == [blob]
        assert round_trip(matrix, dtype).tolist() == [row]
        assert round_trip(matrix, dtype).dtype == np.float32


PLAIN = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


@pytest.mark.parametrize(
    "vectors",
    [
        PLAIN.tolist(),
        tuple(PLAIN),
        [np.array([1, 2, 3]), [4.0, 5, Decimal(6)]],
        PLAIN.astype(np.float16),
        PLAIN.astype(np.float64),
        PLAIN.astype(np.longdouble),
        PLAIN.astype(">f4"),
        PLAIN.astype(">f8"),
        PLAIN.astype(np.int64),
        PLAIN.astype(np.uint8),
        PLAIN.astype(object),
        np.asfortranarray(PLAIN),
        np.repeat(PLAIN, 2, axis=1)[:, ::2],
        np.ascontiguousarray(PLAIN[::-1])[::-1],
        np.broadcast_to(PLAIN, (1, 2, 3))[0],
    ],
    ids=lambda vectors: f"{type(vectors).__name__} {getattr(vectors, 'dtype', '')}",
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_any_kind_and_order_are_the_same_vectors(vectors, dtype):
    matrix = as_matrix(vectors, 3)
    check_vectors(matrix, Schema("i", 3, dtype=dtype))
    assert blobs(matrix, dtype) == blobs(PLAIN, dtype)


def test_float32_is_not_copied():
    matrix = as_matrix(PLAIN, 3)
    assert np.shares_memory(matrix, PLAIN)
    assert np.shares_memory(encode(matrix, "float32"), PLAIN)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float16", 65519.0), ("bfloat16", 1e19), ("float32", 1e19), ("float64", 1e154)],
)
def test_what_is_just_not_too_large_is_accepted(dtype, value):
    matrix = np.array([[value, 0.0]])
    check_vectors(matrix, Schema("i", 2, dtype=dtype))
    assert np.isfinite(round_trip(matrix, dtype)).all()
