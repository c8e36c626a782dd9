"""The same answers as FiftyOne's in-memory backend, for everything that only that one could do.

The embeddings have a mean of zero, because FiftyOne's backend shifts them there before it compares
them, which changes cosine distances.
"""

from importlib.metadata import version

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.core.models import EmbeddingsMixin, Model
from packaging.version import Version

from fiftyone_redis.engine.search import exact_search

METRICS = ("cosine", "euclidean")


@pytest.fixture(params=METRICS)
def indexes(request, samples):
    """The same samples indexed by both backends."""
    embeddings = samples.embeddings.copy()
    embeddings[40:50] = embeddings[:10] + 0.01 * embeddings[50:]  # near duplicates
    embeddings -= embeddings.mean(axis=0)
    return both(samples.dataset, embeddings=embeddings, metric=request.param)


@pytest.fixture(params=METRICS)
def patch_indexes(request, patches):
    embeddings = patches.embeddings - patches.embeddings.mean(axis=0)
    indexes = both(
        patches.dataset, embeddings=False, patches_field="ground_truth", metric=request.param
    )
    for index in indexes:
        index.add_to_index(embeddings.copy(), patches.sample_ids, label_ids=patches.label_ids)
    return indexes


def both(dataset, embeddings, **kwargs):
    def compute(backend):
        copy = embeddings if embeddings is False else embeddings.copy()
        return fob.compute_similarity(
            dataset, embeddings=copy, brain_key=backend, backend=backend, **kwargs
        )

    return compute("redis"), compute("sklearn")


def assert_same(ours, theirs):
    """Asserts the same ids and distances in the same order, but for equal distances."""
    our, their = (
        sorted(
            zip(view.values(field), view.values("id"), strict=True),
            key=lambda t: (round(t[0], 5), t[1]),
        )
        for view, field in ((ours, "ours"), (theirs, "theirs"))
    )
    assert [id for _, id in our] == [id for _, id in their]
    assert ours.values("ours") == pytest.approx(theirs.values("theirs"), abs=1e-5)


def queries(ids):
    return {
        "one id": ids[3],
        "three ids": [ids[3], ids[17], ids[44]],
        "twice": [ids[3], ids[3], ids[17]],
    }


@pytest.mark.parametrize("query", ["one id", "three ids", "twice"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("k", [7, None])
@pytest.mark.parametrize("aggregation", ["mean", "post-mean", "post-min", "post-max"])
@pytest.mark.parametrize("view", ["everything", "a view"])
def test_sorted_by_similarity(indexes, samples, query, reverse, k, aggregation, view):
    ours, theirs = indexes
    view = samples.dataset if view == "everything" else samples.dataset.match(_NOT_A)
    ask = {
        "query": queries(samples.ids)[query],
        "k": k,
        "reverse": reverse,
        "aggregation": aggregation,
    }

    our_view = ours.use_view(view).sort_by_similarity(dist_field="ours", **ask)
    their_view = theirs.use_view(view).sort_by_similarity(dist_field="theirs", **ask)

    assert_same(our_view, their_view)


_NOT_A = F("ground_truth.label") != "a"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("aggregation", ["mean", "post-mean", "post-min", "post-max"])
def test_patches_sorted_by_similarity(patch_indexes, patches, reverse, aggregation):
    ours, theirs = patch_indexes
    view = patches.dataset.limit(12).to_patches("ground_truth")
    ask = {
        "query": queries(patches.label_ids)["three ids"],
        "k": 9,
        "reverse": reverse,
        "aggregation": aggregation,
    }

    our_view = ours.use_view(view).sort_by_similarity(dist_field="ours", **ask)
    their_view = theirs.use_view(view).sort_by_similarity(dist_field="theirs", **ask)

    assert_same(our_view, their_view)


def test_neighbors_of_all_points(indexes):
    ours, theirs = indexes
    our_inds, our_dists = ours._kneighbors(k=6, return_dists=True)
    their_inds, their_dists = theirs._kneighbors(k=6, return_dists=True)
    assert ours.current_sample_ids.tolist() == list(theirs.current_sample_ids)
    assert np.array_equal(our_inds, their_inds)
    assert np.allclose(our_dists, their_dists, atol=1e-5)


def test_points_within_a_radius(indexes):
    ours, theirs = indexes
    for our, their in zip(
        ours._radius_neighbors(thresh=0.5), theirs._radius_neighbors(thresh=0.5), strict=True
    ):
        assert our.tolist() == their.tolist()


def test_points_within_a_radius_of_a_vector(indexes, samples):
    ours, _ = indexes
    ids, labels, dists = ours._radius_neighbors(samples.ids[3], thresh=1.0, return_dists=True)
    everyone = samples.dataset.sort_by_similarity(samples.ids[3], brain_key="redis", dist_field="d")
    near = [(i, d) for i, d in zip(*everyone.values(["id", "d"]), strict=True) if d <= 1.0]
    assert sorted(ids) == sorted(i for i, _ in near)
    assert sorted(dists) == pytest.approx([d for _, d in near], abs=1e-5)
    assert labels is None


@pytest.mark.parametrize("thresh", [0.05, 1.5])
def test_duplicates_by_threshold(indexes, thresh):
    ours, theirs = indexes
    for index in indexes:
        index.find_duplicates(thresh=thresh)
    assert set(ours.duplicate_ids) == set(theirs.duplicate_ids)
    assert set(ours.unique_ids) == set(theirs.unique_ids)
    assert ours.unique_view().values("id") == theirs.unique_view().values("id")


def test_each_duplicate_is_shown_behind_its_nearest(indexes, samples):
    # FiftyOne's backend shifts the points here but not the queries, so that its are others.
    index, _ = indexes
    index.find_duplicates(thresh=0.3)
    embeddings, ids, _ = index.get_embeddings()
    points = dict(zip(ids, embeddings, strict=True))
    assert index.neighbors_map
    for unique_id, duplicates in index.neighbors_map.items():
        for duplicate_id, distance in duplicates:
            expected = {
                other: exact_search.compute_distances(
                    points[duplicate_id][None], points[other][None], index.config.metric
                )[0, 0]
                for other in index.unique_ids
            }
            assert min(expected, key=expected.get) == unique_id
            assert distance == pytest.approx(expected[unique_id], abs=1e-5)
    shown = index.duplicates_view(type_field="type").values("id")
    assert len(shown) == len(index.duplicate_ids) + len(index.neighbors_map)


def test_duplicates_by_fraction(indexes):
    ours, theirs = indexes
    for index in indexes:
        index.find_duplicates(fraction=0.2)
    assert set(ours.duplicate_ids) == set(theirs.duplicate_ids)
    assert ours.thresh == pytest.approx(theirs.thresh)


def test_unique_samples(indexes):
    ours, theirs = indexes
    for index in indexes:
        index.find_unique(15)
    assert set(ours.unique_ids) == set(theirs.unique_ids)


def test_duplicates_of_a_view(indexes, samples):
    ours, theirs = indexes
    view = samples.dataset.match(_NOT_A)
    for index in indexes:
        with index.use_view(view):
            index.find_duplicates(thresh=0.05)
    assert set(ours.duplicate_ids) == set(theirs.duplicate_ids)
    assert set(ours.duplicate_ids) < set(view.values("id"))


def test_duplicate_patches(patch_indexes):
    ours, theirs = patch_indexes
    for index in patch_indexes:
        index.find_duplicates(fraction=0.3)
    assert set(ours.duplicate_ids) == set(theirs.duplicate_ids)
    assert set(ours.duplicate_ids) < set(ours.duplicates_view().values("id"))


def test_samples_that_are_not_indexed_do_not_disturb(indexes, samples):
    ours, _ = indexes
    new = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    ours.use_view(samples.dataset.select([*new, *samples.ids[:20]]))
    assert ours.index_size == 20
    assert ours.missing_size == 1
    assert len(ours._kneighbors(k=3)) == 20
    ours.find_duplicates(thresh=0.05)
    assert new[0] not in [*ours.unique_ids, *ours.duplicate_ids]


def test_near_duplicates_of_the_brain(indexes, samples):
    found = [
        fob.compute_near_duplicates(samples.dataset, similarity_index=index, threshold=0.05)
        for index in ("redis", "sklearn")
    ]
    assert set(found[0].duplicate_ids) == set(found[1].duplicate_ids)


def test_representativeness_of_the_brain(indexes, samples):
    for index in ("redis", "sklearn"):
        fob.compute_representativeness(
            samples.dataset, similarity_index=index, representativeness_field=f"field_{index}"
        )
    ours, theirs = (samples.dataset.values(f"field_{index}") for index in ("redis", "sklearn"))
    assert ours == pytest.approx(theirs, abs=1e-4, nan_ok=True)


@pytest.mark.skipif(
    Version(version("fiftyone-brain")) < Version("0.22"),
    reason="this version takes the neighbors of all backends for those of its own",
)
def test_uniqueness_of_the_brain(indexes, samples):
    # FiftyOne leaves out the nearest neighbor when the index is its own, expecting the sample
    # itself there, so this is compared with its formula.
    index, _ = indexes
    embeddings, _, _ = index.get_embeddings(samples.ids)
    nearest = np.sort(exact_search.compute_distances(embeddings, embeddings, index.config.metric))[
        :, 1:4
    ]
    expected = np.mean(nearest * [0.6, 0.3, 0.1], axis=1)

    fob.compute_uniqueness(samples.dataset, similarity_index=index)

    assert samples.dataset.values("uniqueness") == pytest.approx(
        expected / expected.max(), abs=1e-4
    )


def test_leaky_splits_of_the_brain(indexes, samples):
    samples.dataset.limit(30).tag_samples("train")
    samples.dataset.skip(30).tag_samples("test")
    found = []
    for index in ("redis", "sklearn"):
        leaks = fob.compute_leaky_splits(
            samples.dataset, splits=["train", "test"], similarity_index=index, threshold=0.05
        )
        found.append(set(leaks.leaks_view().values("id")))
    assert found[0] == found[1]
    assert found[0]


def test_visualizations_of_the_brain(indexes, samples):
    ours, theirs = (
        fob.compute_visualization(
            samples.dataset, similarity_index=index, method="pca", seed=51, brain_key=f"pca_{index}"
        )
        for index in ("redis", "sklearn")
    )
    assert ours.points == pytest.approx(theirs.points, abs=1e-3)


def test_existing_embeddings_are_not_computed_again(indexes, samples):
    embeddings, sample_ids, _ = indexes[0].compute_embeddings(
        samples.dataset, model=Unused(), skip_existing=True
    )
    assert len(embeddings) == len(sample_ids) == 0


class Unused(EmbeddingsMixin, Model):
    """A model that fails when it is used."""

    media_type = "image"
    has_embeddings = True
    ragged_batches = True
    transforms = None
    preprocess = False


def test_distances_can_be_plotted(indexes):
    assert indexes[0].plot_distances(backend="matplotlib") is not None
