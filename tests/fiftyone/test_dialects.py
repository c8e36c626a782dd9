"""FiftyOne on a server that is asked for no more than every query engine knows."""

from dataclasses import replace

import brute_force
import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis.engine import capabilities, connection, planner
from fiftyone_redis.engine.errors import UnsupportedServerError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Has every client believe that its server knows only that."""
    learned = capabilities.learn

    def learn(client):
        plain = {"redisearch": False, "filters_by_key": False, "dtypes": ("float32",)}
        capabilities._known[client] = replace(learned(client), **plain)
        return capabilities._known[client]

    monkeypatch.setattr(capabilities, "learn", learn)
    monkeypatch.setattr(connection, "learn", learn)


@pytest.fixture(params=[True, False], ids=["filtered", "wider"])
def filtered(monkeypatch, request):
    """Settles whether a search in a view is filtered beforehand, or made wider."""
    monkeypatch.setattr(planner, "filter_is_cheaper", lambda *_: request.param)


def nearest(embeddings: np.ndarray, query: int, allowed: list[int], k: int) -> list[int]:
    order = brute_force.nearest("cosine", embeddings[query], embeddings[allowed])
    return [allowed[row] for row in order[:k]]


@pytest.mark.usefixtures("filtered")
def test_a_view_of_samples_is_searched(samples):
    index = fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )
    assert not capabilities.capabilities(index._redis).redisearch
    view = samples.dataset[20:50].sort_by_similarity(samples.ids[3], k=6, brain_key="key")
    expected = nearest(samples.embeddings, 3, list(range(20, 50)), 6)
    assert view.values("id") == [samples.ids[row] for row in expected]


@pytest.mark.usefixtures("filtered")
def test_a_view_of_patches_is_searched_and_they_are_named_by_their_samples(patches, patch_index):
    view = patches.dataset[5:15].to_patches("ground_truth")
    found = view.sort_by_similarity(patches.label_ids[0], k=6, brain_key="key")
    expected = nearest(patches.embeddings, 0, list(range(15, 45)), 6)
    assert found.values("id") == [patches.label_ids[row] for row in expected]
    _, _, label_ids = patch_index.get_embeddings(sample_ids=patches.sample_ids[3:4])
    assert sorted(label_ids) == sorted(patches.label_ids[3:6])


def test_a_run_is_made_changed_and_deleted_but_not_rebuilt(samples, client):
    index = fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )
    index.remove_from_index(sample_ids=samples.ids[:10])
    assert index.total_index_size == 50
    with pytest.raises(UnsupportedServerError, match="make a new index"):
        index.rebuild(algorithm="HNSW")
    index.cleanup()
    assert client.dbsize() == 0
