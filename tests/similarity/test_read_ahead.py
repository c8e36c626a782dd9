"""Neighbours of a large array, a few rows at a time, as FiftyOne's uniqueness asks for them."""

import gc
import weakref

import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity import read_ahead


@pytest.fixture(params=["HNSW", "FLAT"])
def index(request, samples):
    return fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        brain_key="key",
        backend="redis",
        algorithm=request.param,
    )


@pytest.fixture
def searches(monkeypatch):
    """The number of rows of each search."""
    counts = []
    search = VectorIndex.search

    def count(self, queries, *args, **more):
        counts.append(len(queries))
        return search(self, queries, *args, **more)

    monkeypatch.setattr(VectorIndex, "search", count)
    return counts


def ask(index, rows, k=4):
    ids, _, distances = index._kneighbors(query=rows, k=k, return_dists=True)
    return ids, np.array(distances)


def ask_in_parts(index, rows, step=10):
    return [ask(index, rows[start : start + step]) for start in range(0, len(rows), step)]


def assert_same(found, expected):
    assert found[0] == expected[0]
    assert np.allclose(found[1], expected[1], rtol=0, atol=1e-6)


def test_answers_are_those_of_each_query_alone(index, searches):
    rows, _, _ = index.get_embeddings()
    alone = [ask(index, rows[start : start + 7].copy()) for start in range(0, 60, 7)]
    searches.clear()
    for found, expected in zip(ask_in_parts(index, rows, 7), alone, strict=True):
        assert_same(found, expected)
    assert searches == [7, 53]


def test_a_query_with_another_k_is_answered_with_it(index):
    rows, _, _ = index.get_embeddings()
    ask_in_parts(index, rows[:20])
    assert_same(ask(index, rows[20:30], 2), ask(index, rows[20:30].copy(), 2))


def test_uniqueness_searches_for_many_at_once(index, samples, searches):
    fob.compute_uniqueness(samples.dataset, similarity_index=index)
    assert searches == [10, 50]
    assert max(samples.dataset.values("uniqueness")) == 1


def test_rows_that_have_changed_are_searched_for_as_they_are_now(index):
    rows, _, _ = index.get_embeddings()
    expected = ask(index, rows[[*range(20, 25), 3, *range(26, 30)]])
    ask_in_parts(index, rows[:20])
    rows[25] = rows[3]
    assert_same(ask(index, rows[20:30]), expected)


def test_a_row_that_cannot_be_searched_for_is_told_when_it_is_asked_about(index):
    rows, _, _ = index.get_embeddings()
    rows[35] = np.nan
    expected = ask(index, rows[20:30].copy())
    assert_same(ask_in_parts(index, rows[:30])[2], expected)
    with pytest.raises(InputError):
        ask(index, rows[30:40])


def test_what_was_removed_meanwhile_is_not_found(index):
    rows, ids, _ = index.get_embeddings()
    ask_in_parts(index, rows[:20])
    index.remove_from_index([ids[20]])
    assert ids[20] not in ask(index, rows[20:30])[0][0]


def test_what_others_removed_meanwhile_is_found_for_some_seconds_at_most(index, monkeypatch):
    monkeypatch.setattr(read_ahead, "_FRESH", 0)
    rows, ids, _ = index.get_embeddings()
    ask_in_parts(index, rows[:20])
    index.config.open_index(index._redis).remove([ids[20]])
    assert ids[20] not in ask(index, rows[20:30])[0][0]


def test_a_view_that_was_chosen_meanwhile_is_searched(index, samples):
    rows, _, _ = index.get_embeddings()
    ask_in_parts(index, rows[:20])
    index.use_view(samples.dataset.limit(9))
    expected = ask(index, rows[20:].copy())[0]
    found = [each for ids, _ in ask_in_parts(index, rows[20:]) for each in ids]
    assert found == expected
    assert {id for ids in found for id in ids} <= set(samples.ids[:9])


def test_the_array_is_not_kept(index):
    rows, _, _ = index.get_embeddings()
    ask_in_parts(index, rows[:20])
    gone = weakref.ref(rows.base)
    del rows
    gc.collect()
    assert gone() is None


def test_patches_are_found_with_their_samples(patches):
    index = fob.compute_similarity(
        patches.dataset,
        embeddings=False,
        patches_field="ground_truth",
        brain_key="key",
        backend="redis",
        algorithm="HNSW",
    )
    index.add_to_index(patches.embeddings, patches.sample_ids, label_ids=patches.label_ids)
    rows, _, _ = index.get_embeddings()
    step = len(rows) // 6
    alone = [
        index._kneighbors(query=rows[start : start + step].copy(), k=2)
        for start in range(0, len(rows), step)
    ]
    ahead = [
        index._kneighbors(query=rows[start : start + step], k=2)
        for start in range(0, len(rows), step)
    ]
    assert ahead == alone
