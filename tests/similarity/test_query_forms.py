"""Queries, k and thresholds in every form: the obvious meaning, or an error that says so."""

from fractions import Fraction

import brute_force
import fiftyone.brain as fob
import numpy as np
import pytest
from bson import ObjectId

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import InputError

FAULTY_COUNTS = [True, 2.5, "7", -1, float("nan"), float("inf"), [5]]


@pytest.fixture
def index(samples):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )


@pytest.mark.parametrize("k", [5, 5.0, np.int64(5), np.float32(5), Fraction(5)])
def test_a_whole_number_is_k(samples, index, k):
    expected = index.sort_by_similarity(samples.ids[3], k=5).values("id")
    assert index.sort_by_similarity(samples.ids[3], k=k).values("id") == expected
    assert index._kneighbors(samples.ids[3], k=k)[0] == expected
    assert [len(each) for each in index._kneighbors(k=k)] == [5] * 60
    [found] = index._open_index().search(samples.embeddings[3:4], k)
    assert found.ids == expected
    view = samples.dataset.sort_by_similarity(samples.ids[3], k=k, brain_key="key")
    assert view.values("id") == expected


@pytest.mark.parametrize("k", [0, *FAULTY_COUNTS])
def test_what_is_no_number_of_neighbors_is_refused(samples, index, k):
    engine = index._open_index()
    for call in (
        lambda: index.sort_by_similarity(samples.ids[3], k=k),
        lambda: index._kneighbors(samples.embeddings[3], k=k, aggregation="post-mean"),
        lambda: index._kneighbors(k=k),
        lambda: samples.dataset.sort_by_similarity(samples.ids[3], k=k, brain_key="key"),
        lambda: samples.dataset.limit(9).sort_by_similarity(samples.ids[3], k=k, brain_key="key"),
        lambda: engine.search(samples.embeddings[:1], k),
        lambda: engine.search_ids(samples.ids[:1], k),
    ):
        with pytest.raises(InputError, match="k must be a whole number of at least 1, not"):
            call()


@pytest.mark.parametrize("k", [10**6, 2**31, 2**63, 10**30])
def test_a_huge_k_finds_everything(samples, index, k):
    assert len(index.sort_by_similarity(samples.ids[3], k=k)) == 60
    with index.use_view(samples.dataset.limit(9)):
        assert len(index.sort_by_similarity(samples.ids[3], k=k)) == 9


@pytest.mark.parametrize("count", FAULTY_COUNTS)
def test_what_is_no_number_of_unique_samples_is_refused(index, count):
    with pytest.raises(InputError, match="count must be a whole number of at least 0, not"):
        index.find_unique(count)


@pytest.mark.parametrize("thresh", ["x", True, float("nan"), [0.5]])
def test_what_is_no_threshold_is_refused(samples, index, thresh):
    with pytest.raises(InputError, match="thresh must be a number, not"):
        index.find_duplicates(thresh=thresh)
    with pytest.raises(InputError, match="thresh must be a number, not"):
        index._radius_neighbors(samples.ids[0], thresh=thresh)
    with pytest.raises(InputError, match="fraction must be a number, not"):
        index.find_duplicates(fraction=thresh)


def test_duplicates_need_a_threshold_or_a_fraction(index):
    with pytest.raises(InputError, match="Provide thresh, a distance, or fraction"):
        index.find_duplicates()


@pytest.mark.parametrize(
    "form",
    [
        lambda ids, vectors: ObjectId(ids[7]),
        lambda ids, vectors: np.array(ids[7]),
        lambda ids, vectors: [ObjectId(ids[7])],
        lambda ids, vectors: (id for id in ids[7:8]),
        lambda ids, vectors: {ids[7]},
        lambda ids, vectors: [vectors[7].tolist()],
        lambda ids, vectors: (vectors[7],),
        lambda ids, vectors: vectors[7].astype(object),
        lambda ids, vectors: memoryview(vectors[7]),
    ],
)
def test_a_query_means_what_it_seems_to_mean(samples, index, form):
    expected = brute_force.nearest("cosine", samples.embeddings[7], samples.embeddings)[:5]
    found = index.sort_by_similarity(form(samples.ids, samples.embeddings), k=5)
    assert found.values("id") == [samples.ids[row] for row in expected]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (None, "not NoneType"),
        (3, "not int"),
        (True, "not bool"),
        (b"0123456789ab", "not bytes"),
        ([], "is empty"),
        ({}, "is empty"),
        (np.zeros((0, 16)), "is empty"),
        ([None], "holds NoneType"),
        (["0" * 24, None], "holds NoneType, str"),
        (["0" * 24, 0.5], "holds float, str"),
        ([1.0, None], "holds NoneType, float"),
        ([[1.0, 2.0], [1.0]], "cannot be read"),
        (np.ones(16, bool), "holds bool"),
        (np.ones(16, complex), "complex128"),
        (np.ones((1, 2, 16)), "shape"),
        ("a\0dog", r"'a\\x00dog' is not an id"),
        ("x" * 10**6, "^.{,200}$"),
        ("", "'' is not an id"),
    ],
)
def test_a_query_of_no_form_is_refused(index, query, reason):
    with pytest.raises(InputError, match=reason):
        index.sort_by_similarity(query, k=5)


@pytest.mark.parametrize(
    "form", [str, ObjectId, np.array, lambda id: [ObjectId(id)], lambda id: (each for each in [id])]
)
def test_an_id_means_the_same_to_whatever_takes_one(samples, index, form):
    id, vectors = samples.ids[7], samples.embeddings[7:8]
    assert list(index.get_embeddings(sample_ids=form(id))[1]) == [id]
    index.remove_from_index(sample_ids=form(id))
    assert index.total_index_size == 59
    index.add_to_index(vectors, form(id))
    assert np.allclose(index.get_embeddings(sample_ids=id)[0], vectors, atol=1e-6)


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (3, "not int"),
        (b"0123456789ab", "not bytes"),
        ([None], "hold NoneType"),  # the id of a sample that is in no dataset
        (["0" * 24, 3], "hold int"),
        (np.zeros(1), "hold float64"),
    ],
)
def test_what_is_no_id_is_refused(samples, index, ids, reason):
    for call in (
        lambda: index.get_embeddings(sample_ids=ids),
        lambda: index.remove_from_index(sample_ids=ids),
        lambda: index.add_to_index(samples.embeddings[:1], ids),
    ):
        with pytest.raises(InputError, match=reason):
            call()
    assert index.total_index_size == 60


@pytest.mark.parametrize("dim", ["4", 4.5, True, None, 0, -1, 10**6])
def test_what_is_no_dimension_is_refused(dim):
    with pytest.raises(InputError, match=r"must be in 1\.\.32768 and whole, not"):
        Schema("any", dim)


def test_a_dimension_of_numpy_is_one(client):
    index = VectorIndex.create(client, Schema("any", np.int64(4)))
    assert index.schema.dim == 4
