"""Vectors that are refused, and the reasons: no server."""

import datetime

import numpy as np
import pytest

from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.vectors.checks import as_matrix, can_hold, check_queries, check_vectors
from fiftyone_redis.errors import InputError

FLOAT32_MAX = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("dtype", "value", "range_"),
    [
        ("int8", 0.5, r"-128\.\.127"),
        ("int8", 128, r"-128\.\.127"),
        ("int8", -129, r"-128\.\.127"),
        ("int8", 1e300, r"-128\.\.127"),
        ("uint8", 254.999, r"0\.\.255"),
        ("uint8", 256, r"0\.\.255"),
        ("uint8", -1, r"0\.\.255"),
    ],
)
def test_what_is_no_whole_number_in_range_is_refused_and_never_rounded(dtype, value, range_):
    matrix = np.array([[1.0, 1.0], [1.0, value]])
    reason = rf"not integers in {range_}, as {dtype} requires \(1 of 2\): 'b'"
    with pytest.raises(InputError, match=reason):
        check_vectors(matrix, Schema("i", 2, dtype=dtype), ["a", "b"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_query_of_any_numbers_can_be_compared(dtype):
    check_queries(np.array([[0.25, -3.0]]), Schema("i", 2, dtype=dtype))
    assert can_hold(np.array([[0.25, -3.0]]), dtype) == ("int" not in dtype)
    assert can_hold(np.array([[3.0, 7.0]]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("value", "reason"), [(np.nan, "NaN"), (0.0, "zero")])
def test_a_query_that_cannot_be_compared_is_refused(dtype, value, reason):
    with pytest.raises(InputError, match=reason):
        check_queries(np.full((1, 2), value), Schema("i", 2, dtype=dtype))


def test_truth_values_are_numbers():
    assert as_matrix([[True, False]]).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        ([["a", "b"]], "not numbers"),
        ([b"ab", b"cd"], "not numbers"),
        (np.array([["a", 1]], object), "not numbers"),
        (np.ones((2, 3), complex), "not numbers"),
        (np.array([[datetime.datetime(2020, 1, 1)]], "M8[s]"), "not numbers"),
        ([[{}, {}]], "not numbers"),
        (5, r"shape \(\)"),
        (None, "not numbers"),
        ([1.0, 2.0, 3.0], r"shape \(3,\)"),
        (np.ones((2, 3, 1)), r"shape \(2, 3, 1\)"),
        ([[1, 2, 3], [4, 5]], "row 0 has 3 values, row 1 has 2"),
        ([np.ones(3), None, np.ones(2)], "row 0 has 3 values, row 1 has 1, row 2 has 2"),
        ([[1, 2], [3, 4]], "dimension 2, but the index has dimension 3"),
        (np.ones((2, 4)), "dimension 4, but the index has dimension 3"),
        ([[1, [2, 3]], [4, 5]], "not numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers_of_the_dimension_is_refused(vectors, reason):
    with pytest.raises(InputError, match=reason):
        as_matrix(vectors, 3)


def test_no_vectors_have_any_dimension():
    assert as_matrix(np.zeros((0, 0)), 3).shape[0] == 0


def test_none_among_numbers_is_refused_like_nan():
    matrix = as_matrix([[1, 2, None], [1, 2, 3]], 3)
    with pytest.raises(InputError, match=r"Some vectors hold NaN or infinite values \(1 of 2\)"):
        check_vectors(matrix, Schema("i", 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value, dtype):
    matrix = np.ones((5, 3))
    matrix[[1, 3], [0, 2]] = value
    with pytest.raises(InputError, match=r"hold NaN or infinite values \(2 of 5\): 'b', 'd'\."):
        check_vectors(matrix, Schema("i", 3, dtype=dtype), list("abcde"))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float16", 65520.0),
        ("float16", -1e9),
        ("bfloat16", FLOAT32_MAX),
        ("bfloat16", 1e20),  # its square is what overflows
        ("float32", 1e39),
        ("float32", 1e20),
        ("float64", 1e200),
    ],
)
def test_what_is_too_large_for_the_type_is_refused(dtype, value):
    matrix = np.array([[1.0, 1.0], [value, 1.0]])
    with pytest.raises(InputError, match=rf"hold values too large for {dtype} \(1 of 2\): 'b'"):
        check_vectors(matrix, Schema("i", 2, "euclidean", dtype=dtype), ["a", "b"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_is_refused_where_the_metric_is_cosine(dtype):
    matrix = np.array([[0.0, 1.0], [0.0, 0.0], [-0.0, 0.0]])
    with pytest.raises(InputError, match=r"vectors are zero.* \(2 of 3\): 'b', 'c'\."):
        check_vectors(matrix, Schema("i", 2, "cosine", dtype=dtype), list("abc"))


@pytest.mark.parametrize("metric", ["euclidean", "dotproduct"])
def test_zero_is_accepted_where_the_metric_is_another(metric):
    check_vectors(np.zeros((2, 2)), Schema("i", 2, metric))


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1e-9), ("float32", 1e-30)])
def test_what_becomes_zero_in_the_type_counts_as_zero(dtype, value):
    with pytest.raises(InputError, match=r"vectors are zero.* \(1 of 1\)"):
        check_vectors(np.full((1, 2), value), Schema("i", 2, "cosine", dtype=dtype))


def test_only_the_first_offenders_are_named():
    matrix = np.ones((9000, 2), np.float32)
    matrix[[5, 4095, 4096, 8191, 8999], 1] = np.nan
    reason = r"Some vectors .* \(5 of 9000\): row 5, row 4095, row 4096 and 2 more"
    with pytest.raises(InputError, match=reason):
        check_vectors(matrix, Schema("i", 2))


def test_vectors_of_several_blocks_are_accepted():
    check_vectors(np.ones((9000, 2), np.float32), Schema("i", 2))
