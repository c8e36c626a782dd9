"""A search gives k samples or labels that are there, whatever was deleted, moved or regrouped."""

import brute_force
import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F
from grouped_samples import make_grouped_dataset
from versions import needs_frames

from fiftyone_redis.engine.search import planner

DELETED = range(0, 60, 3)
LEFT = [row for row in range(60) if row % 3]


@pytest.fixture(params=["FLAT", "HNSW"])
def index(samples, request):
    """The samples, indexed by Euclidean distance; then a third of them is deleted."""
    index = fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        brain_key="key",
        backend="redis",
        metric="euclidean",
        algorithm=request.param,
    )
    index.ids = samples.ids
    samples.dataset.delete_samples([samples.ids[row] for row in DELETED])
    return index


@pytest.fixture(params=["filters by key", "searches wider"])
def plan(request, monkeypatch):
    """Has the planner choose one way to search a view."""
    is_cheaper = request.param == "filters by key"
    monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *args: is_cheaper)


def nearest_left(samples, index, query, k=None, reverse=False) -> list[str]:
    distances = brute_force.distances("euclidean", query, samples.embeddings)
    rows = sorted(LEFT, key=lambda row: -distances[row] if reverse else distances[row])
    return [index.ids[row] for row in rows[:k]]


@pytest.mark.parametrize("k", [1, 10, 35, 40, 50, None])
@pytest.mark.parametrize("reverse", [False, True])
def test_deleted_samples_take_no_places(samples, index, plan, k, reverse):
    for row in (0, 1):
        query = samples.embeddings[row]
        view = samples.dataset.sort_by_similarity(query, k=k, reverse=reverse, brain_key="key")
        expected = nearest_left(samples, index, query, k, reverse)
        assert view.values("id") == expected
        assert index._kneighbors(query, k=k, reverse=reverse)[0] == expected


def test_the_id_of_a_deleted_sample_is_still_a_query(samples, index):
    [deleted] = [index.ids[0]]
    view = samples.dataset.sort_by_similarity(deleted, k=10, brain_key="key")
    assert view.values("id") == nearest_left(samples, index, samples.embeddings[0], 10)


def test_distances_are_stored_for_k_samples(samples, index):
    samples.dataset.sort_by_similarity(
        samples.embeddings[0], k=10, brain_key="key", dist_field="distance"
    )
    assert samples.dataset.count("distance") == 10


@pytest.mark.parametrize("aggregation", ["post-mean", "post-min", "post-max"])
def test_aggregated_distances_are_those_of_samples_that_are_there(samples, index, aggregation):
    queries = samples.embeddings[[0, 1, 4]]
    aggregate = {"post-mean": np.mean, "post-min": np.min, "post-max": np.max}[aggregation]
    distances = aggregate(
        [brute_force.distances("euclidean", query, samples.embeddings) for query in queries], axis=0
    )
    found, _ = index._kneighbors(queries, k=10, aggregation=aggregation)
    assert found == [index.ids[row] for row in sorted(LEFT, key=lambda row: distances[row])[:10]]


def test_many_queries_at_once(samples, index):
    together, _ = index._kneighbors(samples.embeddings, k=5)
    assert together == [nearest_left(samples, index, query, 5) for query in samples.embeddings]


def test_all_points_are_samples_that_are_there(samples, index):
    left = {index.ids[row] for row in LEFT}
    assert index.index_size == 40
    assert set(index.current_sample_ids) == left
    assert len(index._kneighbors(k=3)) == 40
    assert set(index._radius_neighbors(samples.embeddings[0], thresh=100.0)[0]) == left
    index.find_unique(15)
    assert len(index.unique_view()) == 15
    index.find_duplicates(fraction=0.5)
    assert sorted([*index.unique_ids, *index.duplicate_ids]) == sorted(left)
    assert len(index.duplicates_view()) >= len(index.duplicate_ids)
    assert (index.total_index_size, len(index.sample_ids)) == (60, 60)


def test_a_dataset_whose_indexed_samples_are_all_gone_finds_nothing(samples, index):
    samples.dataset.delete_samples(samples.ids)
    samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    for k in (5, None):
        view = samples.dataset.sort_by_similarity(samples.embeddings[0], k=k, brain_key="key")
        assert len(view) == 0
    assert index.index_size == 0


@pytest.fixture
def grouped(redis_backend):
    """A dataset of 30 groups, and random vectors of both slices by the ids of the samples."""
    dataset = make_grouped_dataset(30)
    ids = dataset.select_group_slices(["left", "right"]).values("id")
    vectors = dict(zip(ids, np.random.default_rng(0).normal(size=(60, 16)), strict=True))
    yield dataset, vectors
    dataset.delete()


def index_slices(dataset, vectors, *slices):
    view = dataset.select_group_slices(list(slices))
    matrix = np.array([vectors[id] for id in view.values("id")])
    return fob.compute_similarity(view, embeddings=matrix, brain_key="key", backend="redis")


def nearest_of(view, vectors, query, k) -> list[str]:
    ids = view.values("id")
    distances = brute_force.distances("cosine", query, np.array([vectors[id] for id in ids]))
    return [ids[row] for row in np.argsort(distances)[:k]]


@pytest.mark.parametrize("shown", ["left", "right"])
def test_the_active_slice_has_k_samples(grouped, shown):
    dataset, vectors = grouped
    index = index_slices(dataset, vectors, "left", "right")
    dataset.group_slice = shown
    query = vectors[dataset.first().id]
    expected = nearest_of(dataset.select_group_slices(shown), vectors, query, 9)
    found = dataset.sort_by_similarity(query, k=9, brain_key="key")
    assert found.values("id") == expected
    assert index._kneighbors(query, k=9)[0] == expected
    assert index.sort_by_similarity(query, k=9).values("id") == expected
    assert index.index_size == 30


@pytest.mark.parametrize("indexed", [("left", "right"), ("right",)])
@pytest.mark.parametrize("k", [1, 9, None])
def test_a_view_that_only_shows_another_slice_has_k_samples(grouped, indexed, k):
    dataset, vectors = grouped
    index_slices(dataset, vectors, *indexed)
    right = dataset.select_group_slices("right")
    query = vectors[right.last().id]
    view = dataset.view()
    view.group_slice = "right"  # FiftyOne's App shows slices like this
    found = view.sort_by_similarity(query, k=k, brain_key="key")
    assert found.values("id") == nearest_of(right, vectors, query, k)


def test_duplicates_are_found_in_slices_that_are_not_active(grouped):
    dataset, vectors = grouped
    index = index_slices(dataset, vectors, "left", "right")
    for slices in (["right"], ["left", "right"]):
        view = dataset.select_group_slices(slices)
        with index.use_view(view):
            index.find_duplicates(fraction=0.4)
        nearest = {twin: id for id, found in index.neighbors_map.items() for twin, _ in found}
        unique = {id: vectors[id] for id in index.unique_ids}
        assert nearest.keys() == set(view.values("id")) - unique.keys()
        for twin, id in nearest.items():
            distances = brute_force.distances("cosine", vectors[twin], np.array([*unique.values()]))
            assert id == [*unique][np.argmin(distances)]


@pytest.mark.parametrize(
    ("indexed", "asked"),
    [
        (["right"], ["right"]),
        (["left", "right"], ["right"]),
        (["left", "right"], ["left", "right"]),
    ],
)
def test_uniqueness_is_that_among_the_slices_that_are_asked_about(grouped, indexed, asked):
    dataset, vectors = grouped
    index_slices(dataset, vectors, *indexed)
    view = dataset.select_group_slices(asked)
    fob.compute_uniqueness(view, similarity_index="key")
    matrix = np.array([vectors[id] for id in view.values("id")])
    distances = np.sort([brute_force.distances("cosine", row, matrix) for row in matrix])
    expected = distances[:, 1:4] @ [0.6, 0.3, 0.1]
    assert np.allclose(view.values("uniqueness"), expected / expected.max(), atol=1e-3)


@needs_frames
def test_frames_that_are_gone_take_no_places(redis_backend):
    dataset = fo.Dataset()
    video = fo.Sample(filepath="video.mp4")
    for number in range(1, 21):
        video.frames[number] = fo.Frame(filepath=f"{number}.png")
    dataset.add_sample(video)
    frames = dataset.to_frames(sample_frames="dynamic")
    ids, vectors = frames.values("id"), np.random.default_rng(0).normal(size=(20, 16))
    index = fob.compute_similarity(frames, embeddings=vectors, brain_key="key", backend="redis")
    nearest = [ids[row] for row in brute_force.nearest("cosine", vectors[0], vectors)]
    for number in list(video.frames):
        if video.frames[number].id in nearest[1:4]:
            del video.frames[number]
    video.save()

    again = dataset.to_frames(sample_frames="dynamic")
    found = again.sort_by_similarity(ids[0], k=5, brain_key="key")
    assert found.values("id") == [nearest[0], *nearest[4:8]]
    frames.reload()  # deletes the dataset that FiftyOne made of the frames
    assert index._kneighbors(ids[0], k=3)[0] == nearest[:3]
    assert index.index_size == 20
    dataset.delete()


def test_deleted_patches_take_no_places(patches, patch_index, plan):
    gone = patches.label_ids[3:20]
    patches.dataset.delete_labels(ids=gone, fields="ground_truth")
    left = [row for row in range(57) if not 3 <= row < 20]
    query = patches.embeddings[4]
    distances = brute_force.distances("cosine", query, patches.embeddings)
    expected = [patches.label_ids[row] for row in sorted(left, key=lambda row: distances[row])]

    view = patches.dataset.to_patches("ground_truth")
    found = view.sort_by_similarity(query, k=7, brain_key="key")
    assert found.values("id") == expected[:7]
    found = patches.dataset.sort_by_similarity(query, k=7, brain_key="key")
    assert set(found.values("ground_truth.detections.id", unwind=True)) == set(expected[:7])
    assert patch_index._kneighbors(query, k=7, reverse=True)[1] == expected[:-8:-1]
    patch_index.find_unique(10)
    assert len(patch_index.unique_view()) == len(patch_index.unique_ids)
    assert patch_index.index_size == 40


def test_labels_under_new_sample_ids_are_found_by_every_plan(patches, patch_index, plan):
    dataset, copy = patches.dataset, patches.dataset.clone()
    old = dataset.values("id")
    dataset.delete_samples(old)
    dataset.add_collection(copy, new_ids=True)
    copy.delete()
    query = patches.embeddings[4]
    nearest = brute_force.nearest("cosine", query, patches.embeddings)
    expected = [patches.label_ids[row] for row in nearest]
    owner = dict(zip(patches.label_ids, patches.sample_ids, strict=True))
    moved = dict(zip(old, dataset.values("id"), strict=True))
    b_only = dataset.filter_labels("ground_truth", F("label") == "b")

    for view, k in ((dataset, 7), (dataset.limit(20), 7), (dataset.limit(20), None)):
        with patch_index.use_view(view):
            sample_ids, label_ids = patch_index._kneighbors(query, k=k)
        assert label_ids == expected[:k]
        assert sample_ids == [moved[owner[id]] for id in label_ids]
    assert len(dataset.sort_by_similarity(query, k=7, brain_key="key")) > 1
    with patch_index.use_view(b_only):
        assert len(patch_index._kneighbors(query, k=30)[1]) == 19
    found = dataset.to_patches("ground_truth").sort_by_similarity(query, k=7, brain_key="key")
    assert found.values("id") == expected[:7]
    patch_index.find_duplicates(fraction=0.5)
    assert len(patch_index.duplicate_ids) == 29
