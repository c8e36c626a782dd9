"""Threads that share one run, each with a view of its own."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import fiftyone.brain as fob


def test_threads_that_share_a_run_search_in_views_of_their_own(samples):
    index = fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )
    all_have_views = Barrier(3)

    def search(size: int) -> tuple[list[str], int, int]:
        view = samples.dataset.limit(size)
        with index.use_view(view):
            all_have_views.wait()
            found, _ = index._kneighbors(samples.ids[0], k=60)
            index.find_unique(3)
            all_have_views.wait()
            return sorted(found), index.index_size, len(index.view)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(search, [10, 20, 30]))
    assert found == [(samples.ids[:size], size, size) for size in (10, 20, 30)]
    assert index.view is samples.dataset
    assert index.index_size == 60
