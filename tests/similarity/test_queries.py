"""What `sort_by_similarity()` answers: against brute force over the same embeddings."""

import brute_force
import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F

from fiftyone_redis.errors import InputError

METRICS = ("cosine", "dotproduct", "euclidean")


def index_of(samples, **kwargs):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis", **kwargs
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
def test_a_vector_finds_its_nearest_samples(samples, metric, algorithm):
    index_of(samples, metric=metric, algorithm=algorithm)
    query = np.random.default_rng(7).normal(size=16)
    expected = brute_force.distances(metric, query, samples.embeddings)

    view = samples.dataset.sort_by_similarity(query, k=10, brain_key="key", dist_field="distance")

    order = np.argsort(expected)[:10]
    assert view.values("id") == [samples.ids[row] for row in order]
    assert view.values("distance") == pytest.approx(expected[order], abs=1e-5)
    assert all(isinstance(value, float) for value in view.values("distance"))


def test_an_id_finds_itself_first(samples):
    index_of(samples)
    view = samples.dataset.sort_by_similarity(samples.ids[7], k=5, brain_key="key")
    assert view.first().id == samples.ids[7]
    assert len(view) == 5


def test_several_ids_are_averaged(samples):
    index_of(samples, metric="euclidean")
    rows = [3, 9, 27]
    mean = samples.embeddings[rows].mean(axis=0)
    by_ids = samples.dataset.sort_by_similarity(
        [samples.ids[row] for row in rows], k=8, brain_key="key"
    )
    nearest = np.argsort(brute_force.distances("euclidean", mean, samples.embeddings))[:8]
    assert by_ids.values("id") == [samples.ids[row] for row in nearest]


def test_several_vectors_are_averaged(samples):
    index_of(samples, metric="euclidean")
    queries = samples.embeddings[[3, 9]]
    by_vectors = samples.dataset.sort_by_similarity(queries, k=8, brain_key="key")
    by_ids = samples.dataset.sort_by_similarity(
        [samples.ids[3], samples.ids[9]], k=8, brain_key="key"
    )
    assert by_vectors.values("id") == by_ids.values("id")


def test_without_k_everything_is_sorted(samples):
    index_of(samples)
    view = samples.dataset.sort_by_similarity(samples.ids[0], brain_key="key")
    assert sorted(view.values("id")) == sorted(samples.ids)


def test_a_view_finds_only_its_own_samples(samples):
    index_of(samples)
    view = samples.dataset.match(F("ground_truth.label") == "b")
    expected = brute_force.distances("cosine", samples.embeddings[0], samples.embeddings)
    rows = [row for row in np.argsort(expected) if row % 3 == 1][:6]

    found = view.sort_by_similarity(samples.ids[0], k=6, brain_key="key")

    assert found.values("id") == [samples.ids[row] for row in rows]


def test_a_view_with_fewer_samples_than_k_gives_them_all(samples):
    index_of(samples)
    view = samples.dataset.limit(4)
    assert len(view.sort_by_similarity(samples.ids[9], k=10, brain_key="key")) == 4
    assert len(view.sort_by_similarity(samples.ids[9], brain_key="key")) == 4


def test_an_empty_view_finds_nothing(samples):
    index_of(samples)
    view = samples.dataset.match(F("ground_truth.label") == "none")
    assert len(view.sort_by_similarity(samples.ids[9], k=10, brain_key="key")) == 0


def test_samples_that_were_never_indexed_are_not_found(samples):
    index_of(samples)
    [new] = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    view = samples.dataset.select([new, samples.ids[1]])
    found = view.sort_by_similarity(samples.ids[0], k=10, brain_key="key")
    assert found.values("id") == [samples.ids[1]]


def test_patches_are_indexed_from_arrays_by_sample(patches):
    fob.compute_similarity(
        patches.dataset,
        patches_field="ground_truth",
        embeddings=_by_sample(patches),
        brain_key="key",
        backend="redis",
    )
    expected = brute_force.nearest("cosine", patches.embeddings[4], patches.embeddings)[:7]

    view = patches.dataset.to_patches("ground_truth")
    found = view.sort_by_similarity(patches.label_ids[4], k=7, brain_key="key")

    assert found.values("id") == [patches.label_ids[row] for row in expected]


def test_samples_are_sorted_by_their_nearest_patches(patches, patch_index):
    expected = brute_force.nearest("cosine", patches.embeddings[4], patches.embeddings)[:7]

    found = patches.dataset.sort_by_similarity(
        patches.label_ids[4], k=7, brain_key="key", dist_field="distance"
    )

    samples = list(dict.fromkeys(patches.sample_ids[row] for row in expected))
    assert found.values("id") == samples
    labels = found.values("ground_truth.detections.id", unwind=True)
    assert sorted(labels) == sorted(patches.label_ids[row] for row in expected)


def test_patches_of_a_view_are_searched_alone(patches, patch_index):
    view = patches.dataset.limit(2).to_patches("ground_truth")
    found = view.sort_by_similarity(patches.label_ids[40], k=10, brain_key="key")
    assert sorted(found.values("id")) == sorted(patches.label_ids[:6])


def test_an_id_that_is_not_indexed_is_refused(samples):
    index_of(samples)
    [new] = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    with pytest.raises(InputError, match=new):
        samples.dataset.sort_by_similarity(new, k=3, brain_key="key")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (np.ones(15), "dimension 15"),
        (np.full(16, np.nan), "NaN"),
        (np.full(16, np.inf), "infinite"),
        (np.zeros(16), "zero"),
    ],
)
def test_a_query_that_cannot_be_compared_is_refused(samples, query, reason):
    index_of(samples)
    with pytest.raises(InputError, match=reason):
        samples.dataset.sort_by_similarity(query, k=3, brain_key="key")


def _by_sample(patches) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, sample_id in enumerate(patches.sample_ids):
        rows.setdefault(sample_id, []).append(row)
    return {
        sample_id: patches.embeddings[rows[sample_id]] if sample_id in rows else None
        for sample_id in patches.dataset.values("id")
    }


def test_a_search_by_id_takes_three_commands_in_two_round_trips(samples, client):
    index_of(samples)
    samples.dataset.sort_by_similarity(samples.ids[0], k=5, brain_key="key")
    client.config_resetstat()
    samples.dataset.sort_by_similarity(samples.ids[1], k=5, brain_key="key")
    calls = {name: told["calls"] for name, told in client.info("commandstats").items()}
    calls.pop("cmdstat_config|resetstat", None)
    assert calls == {"cmdstat_hmget": 1, "cmdstat_FT.INFO": 1, "cmdstat_FT.SEARCH": 1}
