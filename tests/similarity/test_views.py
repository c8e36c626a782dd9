"""Searches within views of all kinds and sizes: the neighbours that brute force finds."""

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from fiftyone import ViewField as F
from grouped_samples import make_grouped_dataset

from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.search import exact_search, planner
from fiftyone_redis.similarity import view_subset

COUNT, DIM = 3000, 16


@pytest.fixture(params=["filters by key", "searches wider", "decides"])
def plan(request, monkeypatch):
    """Has the planner choose one way, or decide by itself."""
    if request.param == "filters by key":
        monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *args: True)
    if request.param == "searches wider":
        monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *args: False)
        monkeypatch.setattr(
            planner, "choose_width", lambda k, _, last, size: min(size, last + k + 200)
        )


@pytest.fixture(scope="module")
def large():
    """A dataset of 3,000 samples with a number between 0 and 1, and their embeddings."""
    dataset = fo.Dataset()
    rng = np.random.default_rng(51)
    dataset.add_samples(
        fo.Sample(filepath=f"{row}.png", share=share) for row, share in enumerate(rng.random(COUNT))
    )
    yield dataset, rng.normal(size=(COUNT, DIM)).astype(np.float32)
    dataset.delete()


@pytest.fixture
def index(large, redis_backend):
    dataset, embeddings = large
    index = fob.compute_similarity(dataset, embeddings=False, brain_key="key", backend="redis")
    # The last 500 samples are never indexed.
    index.add_to_index(embeddings[:2500], dataset.values("id")[:2500])
    yield index
    dataset.delete_brain_run("key")


@pytest.mark.parametrize("share", [0, 0.002, 0.02, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_views_of_any_size(large, index, plan, share, reverse, k):
    dataset, embeddings = large
    view = dataset.match(F("share") < share)
    ids, shares = dataset.values(["id", "share"])
    expected = exact_search.compute_distances(embeddings[:1], embeddings[:2500], "cosine")[0]
    rows = [row for row in np.argsort(-expected if reverse else expected) if shares[row] < share]

    found = view.sort_by_similarity(ids[0], k=k, reverse=reverse, brain_key="key")

    assert found.values("id") == [ids[row] for row in rows[:k]]


def test_several_queries_at_once(large, index, plan):
    dataset, embeddings = large
    view = dataset.match(F("share") < 0.1)
    index.use_view(view)
    together = index._kneighbors(embeddings[:40], k=5)[0]
    one_by_one = [index._kneighbors(query, k=5)[0] for query in embeddings[:40]]
    assert together == one_by_one


def test_views_that_limit_or_shuffle(large, index, plan):
    dataset, _ = large
    for view in (dataset.take(50, seed=51), dataset.shuffle(seed=51).limit(50)):
        allowed = set(view.values("id"))
        found = view.sort_by_similarity(dataset.first().id, k=20, brain_key="key").values("id")
        everyone = dataset.sort_by_similarity(dataset.first().id, brain_key="key").values("id")
        assert found == [id for id in everyone if id in allowed][:20]


@pytest.mark.parametrize(
    "view_of",
    [
        lambda d: d.match(F("ground_truth.label") == "a"),
        lambda d: d.sort_by("filepath", reverse=True).skip(3).limit(20),
        lambda d: d.exclude(d.values("id")[:50]),
        lambda d: d.group_by("ground_truth.label"),
        lambda d: d.group_by("ground_truth.label", flat=True),
        lambda d: d.set_field("ground_truth.label", "x").match(F("ground_truth.label") == "x"),
        lambda d: d.select_fields().concat(d[:2].select_fields()),
        lambda d: d.match(F("ground_truth.label") == "none"),
    ],
    ids=["match", "sort", "exclude", "groups", "flat groups", "set field", "concat", "empty"],
)
def test_mongodb_tells_of_a_view_what_values_tells(samples, view_of):
    view = view_of(samples.dataset)
    subset = view_subset.ViewSubset(view, None)
    expected = view.values("id")
    everyone = [Hit(f"docs:{id}", 0.0, {}, id) for id in [*samples.ids, "not-an-id", "f" * 24]]
    assert sorted(subset.ids()) == sorted(set(expected))
    assert subset.find_members(everyone) == set(expected)


def test_more_ids_than_one_answer_of_mongodb_holds_are_told_all(samples, monkeypatch):
    monkeypatch.setattr(view_subset, "_MOST_TOGETHER", 7)
    for view in (samples.dataset[:6], samples.dataset[:7], samples.dataset[:8]):
        assert view_subset.ViewSubset(view, None).ids() == view.values("id")


@pytest.mark.parametrize("kind", ["patches view", "view of samples"])
def test_patches_of_a_filtered_view(patches, patch_index, plan, kind):
    view = patches.dataset.filter_labels("ground_truth", F("label") == "b")
    if kind == "patches view":
        view = view.to_patches("ground_truth")
    allowed = [row for row in range(57) if row % 3 == 1]
    expected = exact_search.compute_distances(patches.embeddings[:1], patches.embeddings, "cosine")[
        0
    ]

    _, label_ids = patch_index.use_view(view)._kneighbors(patches.label_ids[0], k=6)

    nearest = sorted(allowed, key=lambda row: expected[row])[:6]
    assert label_ids == [patches.label_ids[row] for row in nearest]


def test_samples_of_a_view_of_patches(patches, plan):
    vectors = np.random.default_rng(1).normal(size=(20, DIM))
    index = fob.compute_similarity(
        patches.dataset, embeddings=vectors, brain_key="key", backend="redis"
    )
    ids = patches.dataset.values("id")
    view = patches.dataset.limit(8).to_patches("ground_truth")
    found, _ = index.use_view(view)._kneighbors(ids[0], k=20)
    assert sorted(found) == sorted(ids[:8])


def test_selected_slices_of_groups(redis_backend, plan):
    dataset = make_grouped_dataset(30)
    flat = dataset.select_group_slices(["left", "right"])
    vectors = np.random.default_rng(0).normal(size=(60, DIM))
    fob.compute_similarity(flat, embeddings=vectors, brain_key="key", backend="redis")
    right = dataset.select_group_slices("right")

    found = right.sort_by_similarity(right.last().id, k=10, brain_key="key")

    ids = flat.values("id")
    allowed = set(right.values("id"))
    expected = exact_search.compute_distances(
        vectors[[ids.index(right.last().id)]], vectors, "cosine"
    )[0]
    nearest = [ids[row] for row in np.argsort(expected) if ids[row] in allowed][:10]
    assert found.values("id") == nearest
    some_groups = dataset.limit(5)
    assert view_subset.ViewSubset(some_groups, None).ids() == some_groups.values("id")
    dataset.delete()


def test_frames_of_videos(redis_backend, plan):
    dataset = fo.Dataset()
    for video in range(4):
        sample = fo.Sample(filepath=f"{video}.mp4")
        for number in range(1, 11):
            sample.frames[number] = fo.Frame(filepath=f"{video}-{number}.png", even=number % 2 == 0)
        dataset.add_sample(sample)
    frames = dataset.to_frames(sample_frames="dynamic")
    vectors = np.random.default_rng(0).normal(size=(40, DIM))
    index = fob.compute_similarity(frames, embeddings=vectors, brain_key="key", backend="redis")
    even = frames.match(F("frame_number") % 2 == 0)
    ids, allowed = frames.values("id"), set(even.values("id"))

    found, _ = index.use_view(even)._kneighbors(ids[0], k=10)

    expected = exact_search.compute_distances(vectors[:1], vectors, "cosine")[0]
    assert found == [ids[row] for row in np.argsort(expected) if ids[row] in allowed][:10]
    dataset.delete()
