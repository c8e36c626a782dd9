"""All points of a large index with a graph: the answers of brute force, from many searches at once.

What is large is made small here; a graph of 60 points answers exactly.
"""

import logging
import os
import signal
import threading

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from grouped_samples import make_grouped_dataset

from fiftyone_redis.engine.search import many_searches, planner
from fiftyone_redis.errors import IndexChangedError, InputError
from fiftyone_redis.similarity import all_points, graph_points

METRICS = ("cosine", "euclidean", "dotproduct")


@pytest.fixture
def walks(monkeypatch):
    """Has the planner walk any graph, and brings every search of all points to light."""
    monkeypatch.setattr(planner, "_PAIR", 1e9)
    walked = []
    make = graph_points.GraphPoints._search

    def search(self, rows, *args, **more):
        walked.extend(rows)
        return make(self, rows, *args, **more)

    monkeypatch.setattr(graph_points.GraphPoints, "_search", search)
    return walked


@pytest.fixture(params=METRICS)
def indexes(request, samples, walks):
    """The same samples in a graph, and compared one by one."""
    embeddings = samples.embeddings
    embeddings[40:50] = embeddings[:10] + 0.01 * embeddings[50:]  # near duplicates
    return index_twice(samples.dataset, embeddings, metric=request.param)


def index_twice(dataset, embeddings, **settings):
    return [
        fob.compute_similarity(
            dataset,
            embeddings=embeddings,
            brain_key=algorithm.lower(),
            backend="redis",
            algorithm=algorithm,
            **settings,
        )
        for algorithm in ("HNSW", "FLAT")
    ]


def assert_same_neighbors(graph, flat, **ask):
    (inds, dists), (expected_inds, expected_dists) = (
        index._kneighbors(return_dists=True, **ask) for index in (graph, flat)
    )
    assert [rows.tolist() for rows in inds] == [rows.tolist() for rows in expected_inds]
    assert np.allclose(np.concatenate(dists), np.concatenate(expected_dists), rtol=0, atol=1e-12)


def test_the_neighbors_of_all_points_are_found_in_the_graph(indexes, walks):
    assert_same_neighbors(*indexes, k=5)
    assert sorted(walks) == list(range(60))


def test_a_point_among_equal_ones_is_no_neighbor_of_itself(samples, walks):
    samples.embeddings[10:30] = samples.embeddings[10]
    graph, _ = index_twice(samples.dataset, samples.embeddings)
    inds, dists = graph._kneighbors(k=5, return_dists=True)
    for row in range(10, 30):
        assert row not in inds[row]
        assert set(inds[row]) < set(range(10, 30))
        assert np.allclose(dists[row], 0, rtol=0, atol=1e-12)


def test_all_neighbors_of_all_points_are_compared(indexes):
    assert_same_neighbors(*indexes, k=None)


@pytest.mark.parametrize("share", [0.9, 0.3])
def test_the_neighbors_of_all_points_of_a_view_are_in_it(indexes, samples, walks, share):
    view = samples.dataset.take(round(60 * share), seed=51)
    for index in indexes:
        index.use_view(view)
    assert_same_neighbors(*indexes, k=5)
    assert len(walks) == len(view)


def test_deleted_samples_are_no_neighbors(indexes, samples):
    samples.dataset.delete_samples(samples.ids[20:40])
    for index in indexes:
        index.reload()
    assert_same_neighbors(*indexes, k=3)
    assert len(indexes[0]._kneighbors(k=3)) == 40


@pytest.mark.parametrize("thresh", [-1.0, 0.1, 0.7, 100.0])
def test_points_within_a_radius_are_found_in_the_graph(indexes, thresh, monkeypatch):
    monkeypatch.setattr(graph_points, "_FIRST_WIDTH", 1)  # most are searched for again and again
    found, expected = (
        index._radius_neighbors(thresh=thresh, return_dists=True) for index in indexes
    )
    for near, others in zip(found, expected, strict=True):
        assert [each.tolist() for each in near] == [pytest.approx(each.tolist()) for each in others]


@pytest.mark.parametrize("thresh", [0.05, 0.9])
def test_duplicates_are_those_of_brute_force(indexes, walks, thresh):
    for index in indexes:
        index.find_duplicates(thresh=thresh)
    assert_same_duplicates(*indexes)
    assert walks


def assert_same_duplicates(graph, flat):
    assert graph.unique_ids == flat.unique_ids
    assert graph.duplicate_ids == flat.duplicate_ids
    assert graph.thresh == flat.thresh
    assert graph.neighbors_map.keys() == flat.neighbors_map.keys()
    for unique, duplicates in graph.neighbors_map.items():
        assert [id for id, _ in duplicates] == [id for id, _ in flat.neighbors_map[unique]]
        expected = [distance for _, distance in flat.neighbors_map[unique]]
        assert [distance for _, distance in duplicates] == pytest.approx(expected, abs=1e-12)


def test_duplicates_by_fraction_are_those_of_brute_force(indexes):
    for index in indexes:
        index.find_duplicates(fraction=0.2)
    assert_same_duplicates(*indexes)


def test_unique_samples_are_those_of_brute_force(indexes):
    for index in indexes:
        index.find_unique(15)
    assert indexes[0].unique_ids == indexes[1].unique_ids


@pytest.mark.parametrize("crowded", [0.0, 1.0], ids=["compares all pairs", "scans for each"])
def test_crowds_of_duplicates_are_found(indexes, monkeypatch, crowded):
    monkeypatch.setattr(graph_points, "_WIDEST", 8)  # neighbours that a search finds at most
    monkeypatch.setattr(graph_points, "_CROWDED", crowded)
    found, expected = (index._radius_neighbors(thresh=1.2) for index in indexes)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in expected]
    for index in indexes:
        index.find_duplicates(thresh=1.2)
    assert_same_duplicates(*indexes)


def test_duplicate_patches_are_those_of_brute_force(patches, walks):
    indexes = [
        fob.compute_similarity(
            patches.dataset,
            embeddings=False,
            patches_field="ground_truth",
            brain_key=algorithm,
            backend="redis",
            algorithm=algorithm,
        )
        for algorithm in ("HNSW", "FLAT")
    ]
    for index in indexes:
        index.add_to_index(patches.embeddings, patches.sample_ids, label_ids=patches.label_ids)
        index.find_duplicates(fraction=0.3)
    assert_same_duplicates(*indexes)
    assert walks


def test_duplicates_in_all_slices_are_those_of_brute_force(redis_backend, walks):
    dataset, embeddings = make_grouped(20)
    indexes = index_twice(dataset.select_group_slices(_allow_mixed=True), embeddings)
    for index in indexes:
        index.find_duplicates(fraction=0.5)
    assert_same_duplicates(*indexes)
    dataset.delete()


def make_grouped(groups):
    dataset = make_grouped_dataset(groups)
    everything = dataset.select_group_slices(_allow_mixed=True)
    return dataset, np.random.default_rng(51).normal(size=(len(everything), 16))


def test_leaky_splits_go_through_the_graph(indexes, samples, walks):
    samples.dataset.limit(30).tag_samples("train")
    samples.dataset.skip(30).tag_samples("test")
    found = []
    for index in indexes:
        leaks = fob.compute_leaky_splits(
            samples.dataset, splits=["train", "test"], similarity_index=index, threshold=0.05
        )
        found.append(set(leaks.leaks_view().values("id")))
    assert found[0] == found[1]
    assert found[0]
    assert walks


@pytest.fixture
def many(redis_backend, walks):
    """A graph of 3,000 samples."""
    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=f"{row}.png") for row in range(3000)), progress=False)
    yield fob.compute_similarity(
        dataset,
        embeddings=np.random.default_rng(51).normal(size=(3000, 16)),
        brain_key="key",
        backend="redis",
        algorithm="HNSW",
    )
    dataset.delete()


def interrupt_after(walks, count, work):
    """Does some work, and sends this process a Ctrl-C once it has searched for some points."""
    walked = threading.Event()

    def watch():
        while len(walks) < count and not walked.wait(0.001):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    # A job in the background of a shell ignores Ctrl-C.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        walked.set()
        watcher.join()
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize(
    "work",
    [
        lambda index: index._kneighbors(k=5),
        lambda index: index.find_duplicates(thresh=0.1),
        lambda index: index._radius_neighbors(thresh=0.1),
    ],
    ids=["neighbors", "duplicates", "radius"],
)
def test_it_can_be_stopped_and_the_index_used_on(many, walks, work):
    interrupt_after(walks, 200, lambda: work(many))
    assert len(walks) >= 200
    assert len(set(walks)) < 3000
    for thread in threading.enumerate():
        if thread.name.startswith("fiftyone-redis-search"):
            thread.join(5)  # the interrupt may have come while it was waited for
            assert not thread.is_alive()
    walked = len(walks)
    id = many.current_sample_ids[17]
    assert many._kneighbors(query=id, k=1)[0] == [id]
    assert len(walks) == walked  # nothing goes on behind the scenes
    assert len(many._kneighbors(k=2)) == 3000


class Stopped(BaseException):
    """What a progress report raises to end the work."""


def test_a_batch_that_takes_long_can_be_stopped_midway(many, walks, monkeypatch):
    monkeypatch.setattr(graph_points, "_HITS_AT_ONCE", 1)  # one search after another
    monkeypatch.setattr(many_searches, "_TICK", 0.01)
    points = graph_points.GraphPoints(
        many.config.open_index(many._redis), many.samples.values("id")
    )
    told = []

    def stop(count):
        told.append(count)
        raise Stopped

    with pytest.raises(Stopped):
        points.drop_duplicates(0.1, stop)
    assert told == [0]  # before the first batch was done
    assert len(walks) < 4 * 64  # and none of those under way was finished


def test_a_rebuild_meanwhile_is_told(many, walks):
    points = graph_points.GraphPoints(
        many.config.open_index(many._redis), many.samples.values("id")
    )
    found = points.find_neighbors(3)
    next(found)
    many.rebuild(metric="euclidean", progress=False)
    with pytest.raises(IndexChangedError, match="try again"):
        list(found)


def test_many_ids_are_searched_for_in_batches(many):
    ids = many.samples.values("id")
    found, _, dists = many._kneighbors(query=ids, k=1, return_dists=True)
    assert found == [[id] for id in ids]
    assert np.allclose(dists, 0, atol=1e-6)


def test_all_ids_that_are_missing_are_counted(many):
    ids = [*many.samples.values("id")[:100], *(f"{row:024x}" for row in range(100))]
    with pytest.raises(InputError, match="100 "):
        many._kneighbors(query=ids, k=1)


@pytest.mark.parametrize("algorithm", ["HNSW", "FLAT"])
def test_long_work_says_how_long_it_takes_before_it_begins(
    samples, walks, algorithm, monkeypatch, caplog
):
    monkeypatch.setattr(all_points, "_LONG_SECONDS", 0.0)
    index = fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        backend="redis",
        algorithm=algorithm,
    )
    caplog.clear()
    with caplog.at_level(logging.INFO):
        index._kneighbors(k=3)
    said = {
        "HNSW": "Searching the graph for each of 60 embeddings in about ",
        "FLAT": "Comparing all pairs of 60 embeddings in about ",
    }
    assert [text for text in caplog.messages if text.startswith(said[algorithm])]
