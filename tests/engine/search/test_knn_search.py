"""What a search finds, against brute force, and what it refuses."""

import contextlib

import brute_force
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.engine.search import planner
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import (
    IncompleteResultError,
    InputError,
)

# What a server without int8 and SVS-VAMANA can hold, as the running one.
OFFERED = ("float32", "float64", "float16", "bfloat16")
ALGORITHMS = ("FLAT", "HNSW")

COUNT, DIM = 200, 8

# How far a distance may be off: the server divides by the length, and rounds, in the type itself.
TOLERANCE = {"float32": 1e-5, "float64": 1e-9, "float16": 5e-3, "bfloat16": 5e-2}


def as_held(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """Returns vectors as the server holds them."""
    return encoding.decode([row.tobytes() for row in encoding.encode(vectors, dtype)], dtype, DIM)


def names(count: int) -> list[str]:
    return [f"{row:05}" for row in range(count)]


def rows(ids: list[str]) -> list[int]:
    return [int(id) for id in ids]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", OFFERED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_nearest_are_found_nearest_first(filled, vectors, metric, dtype, algorithm):
    matrix, queries, tolerance = vectors(COUNT, DIM), vectors(5, DIM) + 0.1, TOLERANCE[dtype]
    index = filled(matrix, metric=metric, dtype=dtype, algorithm=algorithm)
    held = as_held(matrix, dtype)

    found = index.search(queries, 10)

    for query, neighbors in zip(as_held(queries, dtype), found, strict=True):
        true = brute_force.distances(metric, query, held)
        assert len(set(neighbors.ids)) == 10
        assert neighbors.distances.dtype == np.float64
        assert neighbors.distances.tolist() == sorted(neighbors.distances)
        assert neighbors.distances == pytest.approx(true[rows(neighbors.ids)], abs=tolerance)
        assert neighbors.distances == pytest.approx(np.sort(true)[:10], abs=tolerance)


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_float32_is_that_of_brute_force(filled, vectors, metric):
    matrix = vectors(COUNT, DIM)
    index = filled(matrix, metric=metric)
    for query, neighbors in zip(matrix[:20], index.search(matrix[:20], 50), strict=True):
        expected = np.argsort(brute_force.distances(metric, query, matrix))[:50]
        assert rows(neighbors.ids) == expected.tolist()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("within", [None, names(COUNT)[::3]], ids=["all", "within"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_farthest_are_found_farthest_first(filled, vectors, metric, algorithm, within):
    matrix = vectors(COUNT, DIM)
    index = filled(matrix, metric=metric, algorithm=algorithm)
    true = brute_force.distances(metric, matrix[0], matrix)
    allowed = rows(within or names(COUNT))

    [found] = index.search(matrix[:1], 10, within=within, farthest=True)

    assert rows(found.ids) == sorted(allowed, key=lambda row: -true[row])[:10]
    assert found.distances == pytest.approx(true[rows(found.ids)], abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_vector_is_at_no_negative_distance_from_itself(filled, vectors, metric):
    matrix = vectors(COUNT, DIM)
    nearest = filled(matrix, metric=metric).search(matrix, 1)
    assert [neighbors.ids for neighbors in nearest] == [[id] for id in names(COUNT)]
    assert all(0 <= neighbors.distances[0] < 1e-3 for neighbors in nearest)


def test_a_dot_product_over_one_is_a_negative_distance(filled):
    index = filled(np.array([[3.0, 4.0]]), metric="dotproduct")
    assert index.search([[3.0, 4.0]], 1)[0].distances.tolist() == [-24]


def test_more_neighbours_than_there_are_are_all(filled, vectors):
    [found] = filled(vectors(7)).search(vectors(1), 100_000)
    assert sorted(found.ids) == names(7)


@pytest.mark.parametrize("metric", METRICS)
def test_more_neighbours_than_the_server_gives_are_found(filled, vectors, few_results, metric):
    matrix = vectors(COUNT, DIM)
    [found] = filled(matrix, metric=metric).search(matrix[:1], 2 * few_results)
    true = brute_force.distances(metric, matrix[0], matrix)
    assert rows(found.ids) == np.argsort(true)[: 2 * few_results].tolist()
    assert found.distances == pytest.approx(true[rows(found.ids)], abs=1e-5)


def test_an_empty_index_has_no_neighbours(index, vectors):
    [found] = index.search(vectors(1), 3)
    assert (found.ids, found.distances.shape) == ([], (0,))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_distances_are_ordered_by_id(client, algorithm):
    index = VectorIndex.create(client, Schema("ties", 2, "euclidean", algorithm))
    ids = [str(row) for row in np.random.default_rng(51).permutation(30)]
    index.add(ids, [[1.0, float(int(id) % 2)] for id in ids])
    [found] = index.search([[1.0, 0.0]], 30)
    assert found.ids == sorted(ids, key=lambda id: (int(id) % 2, id))
    assert found.distances.tolist() == [0.0] * 15 + [1.0] * 15
    [found] = index.search([[1.0, 0.0]], 30, farthest=True)
    assert found.ids == sorted(ids, key=lambda id: (1 - int(id) % 2, id))
    assert found.distances.tolist() == [1.0] * 15 + [0.0] * 15


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("count", [1, 10, 150])
def test_only_the_ids_that_were_allowed_are_found(filled, vectors, algorithm, count):
    matrix = vectors(COUNT, DIM)
    allowed = np.random.default_rng(7).permutation(COUNT)[:count]
    index = filled(matrix, metric="euclidean", algorithm=algorithm)

    [found] = index.search(matrix[:1], 20, within=[names(COUNT)[row] for row in allowed])

    true = brute_force.distances("euclidean", matrix[0], matrix[allowed])
    assert rows(found.ids) == allowed[np.argsort(true)[:20]].tolist()


def test_ids_that_are_unknown_are_not_found(filled, vectors):
    index = filled(vectors(5))
    [found] = index.search(vectors(1), 10, within=["00003", "none", "*", "00001"])
    assert sorted(found.ids) == ["00001", "00003"]
    assert index.search(vectors(1), 10, within=["none"])[0].ids == []


def test_no_allowed_ids_have_no_neighbours(filled, vectors):
    found = filled(vectors(5), tags=("tag",)).search(vectors(2), 10, within=[])
    assert [(each.ids, each.distances.tolist(), each.tags) for each in found] == [
        ([], [], {"tag": []})
    ] * 2


def test_an_id_that_is_allowed_twice_is_found_once(filled, vectors):
    index = filled(vectors(5))
    assert index.search(vectors(1), 10, within=["00003", "00003"])[0].ids == ["00003"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("within", [None, names(COUNT)[::3]], ids=["all", "within"])
@pytest.mark.parametrize("here", [False, True], ids=["asked", "compared here"])
def test_many_queries_find_what_each_finds_alone(
    filled, vectors, monkeypatch, metric, within, here
):
    index = filled(vectors(COUNT, DIM), metric=metric, tags=("tag",))
    queries = vectors(40, DIM) - 0.2
    alone = [index.search(query[np.newaxis], 7, within=within)[0] for query in queries]

    monkeypatch.setattr(planner, "is_brute_force_cheaper", lambda *_: here)
    together = index.search(queries, 7, within=within)

    assert [found.ids for found in together] == [found.ids for found in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.distances == pytest.approx(other.distances, abs=1e-5)
        assert one.tags == other.tags == {"tag": [""] * 7}


@pytest.mark.parametrize("dtype", OFFERED)
@pytest.mark.parametrize("farthest", [False, True], ids=["nearest", "farthest"])
@pytest.mark.parametrize("within", [None, names(COUNT)[::3]], ids=["all", "within"])
def test_documents_find_what_their_vectors_find(filled, vectors, dtype, farthest, within):
    index = filled(vectors(COUNT, DIM), dtype=dtype)
    ids = ["00007", "00003"]
    by_id = index.search_ids(ids, 5, within=within, farthest=farthest)
    by_vector = index.search(index.fetch(ids).vectors, 5, within=within, farthest=farthest)
    for one, other in zip(by_id, by_vector, strict=True):
        assert one.ids == other.ids
        assert one.distances.tolist() == other.distances.tolist()


def test_documents_that_are_not_there_are_refused(filled, vectors):
    with pytest.raises(InputError, match=r"Found 2 IDs that are not in the index \('a', 'b'\)"):
        filled(vectors(3)).search_ids(["a", "00001", "b"], 1)


def test_a_document_that_others_wrote_without_a_direction_has_no_neighbours(client, filled):
    index = filled(np.ones((3, 4)))
    client.hset("filled:zero", "vector", bytes(16))
    with pytest.raises(InputError, match=r"vectors are zero.*\(1 of 2\): 'zero'"):
        index.search_ids(["00001", "zero"], 1)


def test_documents_whose_vector_is_of_another_length_are_named(filled, vectors, client):
    index = filled(vectors(3))
    client.hset(f"{index.schema.prefix}short", "vector", b"1234")
    with pytest.raises(InputError, match=r"^Found 1 document without .* \('short'\)"):
        index.search_ids(["00001", "short"], 1)


@pytest.mark.parametrize("within", [None, [], ["00000"]])
def test_no_queries_have_no_answers(filled, vectors, within):
    assert filled(vectors(3)).search(np.zeros((0, 4)), 5, within=within) == []


@pytest.mark.parametrize(
    ("queries", "k", "reason"),
    [
        (np.ones(4), 1, r"shape \(4,\)"),
        (np.ones((1, 5)), 1, "dimension 5, but the index has dimension 4"),
        (np.full((1, 4), np.nan), 1, "NaN"),
        (np.zeros((1, 4)), 1, "zero"),
        (np.ones((1, 4)), 0, "k must be a whole number of at least 1, not 0"),
        (np.ones((1, 4)), -3, "k must be a whole number of at least 1, not -3"),
    ],
)
@pytest.mark.parametrize("within", [None, [], ["00000"]])
def test_a_query_that_cannot_be_answered_is_refused(filled, vectors, queries, k, reason, within):
    with pytest.raises(InputError, match=reason):
        filled(vectors(3)).search(queries, k, within=within)


# What the server did not finish


@pytest.fixture
def large_index(filled):
    """An index that takes the server several milliseconds to search."""
    matrix = np.random.default_rng(51).normal(size=(40_000, 128)).astype(np.float32)
    return filled(matrix, metric="euclidean")


@pytest.mark.usefixtures("timeout_policy")
def test_a_query_that_was_cut_short_is_refused(large_index):
    queries = np.ones((3, 128))
    large_index.timeout = 0.001
    for within in (None, names(20_000)):
        with pytest.raises(IncompleteResultError, match="Timeout limit was reached"):
            large_index.search(queries, 10_000, within=within)
    large_index.timeout = None
    assert len(large_index.search(queries, 10)) == 3


def test_an_answer_is_whole_whenever_there_is_one(large_index):
    query = np.ones((1, 128))
    asked = [(k, within) for k in (10, 2000) for within in (None, names(20_000))]
    whole = [large_index.search(query, k, within=within)[0].ids for k, within in asked]
    for milliseconds in (1, 2, 3, 5, 8, 12, 18, 27, 40):
        large_index.timeout = milliseconds / 1000
        for (k, within), expected in zip(asked, whole, strict=True):
            with contextlib.suppress(IncompleteResultError):
                assert large_index.search(query, k, within=within)[0].ids == expected


def test_a_query_that_was_cut_short_is_refused_whatever_the_url(redis_server, large_index):
    with connect(f"{redis_server.url}?protocol=2") as client, pytest.raises(IncompleteResultError):
        VectorIndex(client, large_index.schema, timeout=0.001).search(np.ones((1, 128)), 10_000)


@pytest.fixture
def one_page(monkeypatch):
    """The ids of a tag come in one page, which takes long."""
    monkeypatch.setattr(commands, "_PAGE", 10_000)


@pytest.mark.usefixtures("timeout_policy", "one_page")
def test_a_list_of_ids_that_was_cut_short_is_refused(tagged):
    index = tagged(9000)
    index.timeout = 0.001
    with pytest.raises(IncompleteResultError, match="Timeout limit was reached"):
        index.ids_with_tag("tag", ["even", "odd"])


@pytest.mark.usefixtures("one_page")
def test_a_list_of_ids_that_was_cut_short_leaves_no_cursor(tagged):
    index = tagged(9000)
    index.timeout = 0.001
    with pytest.raises(IncompleteResultError):
        index.ids_with_tag("tag", ["even", "odd"])
    assert index.info()["cursor_stats"]["index_total"] == 0
