"""Threads that share one run, each with a view of its own."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import fiftyone.brain as fob
import pytest
from fiftyone import ViewField as F


@pytest.fixture
def index(samples):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )


@pytest.fixture
def forced_switching() -> Iterator[None]:
    """Has Python switch between threads after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_do_not_search_in_each_others_views(samples, index, forced_switching):
    def search(label: str) -> set[str]:
        view = samples.dataset.match(F("ground_truth.label") == label)
        found = set()
        for _ in range(25):
            nearest = view.sort_by_similarity(samples.ids[0], k=5, brain_key="key")
            found |= set(nearest.values("ground_truth.label"))
            with index.use_view(view):
                assert index.index_size == 20
        return found

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(search, "abc")) == [{"a"}, {"b"}, {"c"}]


def test_a_view_is_that_of_the_thread_that_uses_it(samples, index):
    both_have_views = Barrier(2)

    def count(size: int) -> tuple[int, int]:
        with index.use_view(samples.dataset.limit(size)):
            both_have_views.wait()
            within = index.index_size
            both_have_views.wait()
        return within, index.index_size

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(count, [10, 20])) == [(10, 60), (20, 60)]
    assert index.view is samples.dataset
    assert not index.has_view
