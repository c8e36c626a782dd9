"""The parameters of an index: its type, algorithm and limits, and how they can be changed."""

import brute_force
import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.engine.search import planner
from fiftyone_redis.errors import (
    IncompleteResultError,
    SettingsError,
    UnsupportedServerError,
)


def indexed(samples, **kwargs):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis", **kwargs
    )


def saved(samples):
    return samples.dataset.get_brain_info("key").config


@pytest.mark.parametrize(
    ("dtype", "error"),
    [("float32", 0), ("float64", 0), ("float16", 2e-3), ("bfloat16", 2e-2)],
)
def test_values_are_held_in_the_type_that_is_asked_for(samples, dtype, error):
    index = indexed(samples, dtype=dtype)
    embeddings, _, _ = index.get_embeddings(samples.ids)
    assert np.abs(embeddings - samples.embeddings).max() <= error
    assert saved(samples).dtype == dtype


def test_settings_of_hnsw_reach_the_server_and_the_run(samples):
    index = indexed(samples, algorithm="HNSW", m=8, ef_construction=50, ef_runtime=30)
    [vector] = [a for a in index._index.info()["attributes"] if a["type"] == "VECTOR"]
    assert (vector["M"], vector["ef_construction"]) == (8, 50)
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert (loaded.config.m, loaded.config.ef_construction) == (8, 50)
    assert loaded._open_index().schema.ef_runtime == 30


def test_a_run_remembers_the_settings_that_servers_do_not_tell(samples):
    indexed(samples, block_size=500)
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert (loaded.config.block_size, saved(samples).block_size) == (500, 500)
    loaded.rebuild(dtype="float16")
    assert loaded._open_index().schema.block_size == 500


def test_the_defaults_are_noted_in_the_run(samples):
    indexed(samples)
    assert (saved(samples).metric, saved(samples).algorithm) == ("cosine", "FLAT")
    assert (saved(samples).dtype, saved(samples).m) == ("float32", None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"m": 1}, "m must be a whole number of at least 2"),
        ({"ef_runtime": 0.5}, "ef_runtime must be a whole number"),
        ({"block_size": -1}, "block_size"),
        ({"search_window_size": 0}, "search_window_size must be a whole number of at least 1"),
        ({"compression": "zip"}, "compression 'zip'; use one of none, LVQ8"),
        ({"algorithm": "SVS-VAMANA", "dtype": "float64"}, "dtype of SVS-VAMANA 'float64'"),
        ({"query_timeout": 0}, "query_timeout must be more than 0 s"),
        ({"query_timeout": "30"}, "query_timeout must be more than 0 s.*, not '30'"),
        ({"query_timeout": float("inf")}, "at most 1,000,000 s, not inf"),
        ({"query_timeout": 1e12}, "at most 1,000,000 s"),
        ({"dtype": np.dtype("float16")}, "dtype dtype.*use one of float32"),
        ({"index_name": 7}, "index_name 7"),
        ({"index_name": b"mine"}, "index_name b'mine'"),
    ],
)
def test_settings_out_of_range_are_refused(samples, given, message):
    with pytest.raises(SettingsError, match=message):
        indexed(samples, **given)
    assert not samples.dataset.list_brain_runs()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"dtype": "int8"}, marks=pytest.mark.needs("no int8")),
        pytest.param({"algorithm": "SVS-VAMANA"}, marks=pytest.mark.needs("no svs")),
        pytest.param({"algorithm": "SVS-VAMANA", "m": 2}, marks=pytest.mark.needs("no svs")),
    ],
)
def test_what_the_server_lacks_is_refused_and_no_run_is_left_behind(samples, given):
    with pytest.raises(UnsupportedServerError, match=r"Redis .*, search "):
        indexed(samples, **given)
    assert not samples.dataset.list_brain_runs()


def test_whole_numbers_of_numpy_are_whole_numbers(samples):
    assert indexed(samples, algorithm="HNSW", m=np.int64(8))._open_index().schema.m == 8
    assert saved(samples).m == 8


def test_a_query_that_takes_too_long_is_refused(samples):
    rng = np.random.default_rng(0)
    index = fob.compute_similarity(
        samples.dataset, embeddings=False, brain_key="key", backend="redis"
    )
    vectors = rng.random(size=(60_000, 256), dtype=np.float32)
    index.add_to_index(vectors, [f"{row:024x}" for row in range(len(vectors))])
    index._index.timeout = 0.001
    queries = rng.normal(size=(20, 256))
    with pytest.raises(IncompleteResultError, match="cut the query short"):
        index._kneighbors(queries, k=10)


def test_the_time_limit_is_a_setting_in_seconds(samples):
    index = indexed(samples, query_timeout=2.5)
    assert index._index._timeout_ms() == 2500
    assert samples.dataset.load_brain_results("key", cache=False)._index._timeout_ms() == 2500


def test_an_index_is_rebuilt_and_the_run_knows(samples):
    index = indexed(samples)
    before = index.sort_by_similarity(samples.ids[3], k=8).values("id")

    index.rebuild(algorithm="HNSW", dtype="float16", m=12)

    assert index.sort_by_similarity(samples.ids[3], k=8).values("id") == before
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert (loaded.config.algorithm, loaded.config.dtype, loaded.config.m) == (
        "HNSW",
        "float16",
        12,
    )
    assert loaded.config.index_name == index.config.index_name
    assert loaded.sort_by_similarity(samples.ids[3], k=8).values("id") == before
    index.cleanup()
    assert loaded.total_index_size == 0


def test_a_run_is_loaded_although_its_index_was_rebuilt_elsewhere(samples):
    index = indexed(samples)
    index._index.rebuild(algorithm="HNSW", metric="euclidean")
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert (loaded.config.algorithm, loaded.config.metric) == ("HNSW", "euclidean")
    assert saved(samples).algorithm == "HNSW"


@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
def test_all_points_are_compared_by_the_metric_of_an_index_rebuilt_elsewhere(
    samples, algorithm, monkeypatch
):
    monkeypatch.setattr(planner, "_PAIR", 1e9)  # has a graph walked for all points, where it is one
    index, rows = indexed(samples, algorithm="HNSW"), list(range(len(samples.ids)))
    index._kneighbors(k=1)  # keeps the points, or the graph
    index._radius_neighbors(samples.embeddings[3], thresh=0.1)
    other = samples.dataset.load_brain_results("key", cache=False)
    other.rebuild(metric="euclidean", algorithm=algorithm)

    def distances(row):
        return brute_force.distances("euclidean", samples.embeddings[row], samples.embeddings)

    radius = np.sort(distances(3))[5]
    _, of_all = index._kneighbors(k=1, return_dists=True)
    near, _, how_near = index._radius_neighbors(
        samples.embeddings[3], thresh=radius + 1e-4, return_dists=True
    )
    near_each = index._radius_neighbors(thresh=radius + 1e-4)

    assert np.allclose(np.ravel(of_all), [np.sort(distances(row))[1] for row in rows], atol=1e-4)
    assert {*near} == {samples.ids[row] for row in np.argsort(distances(3))[:6]}
    assert np.allclose(np.sort(how_near), np.sort(distances(3))[:6], atol=1e-4)
    assert {*near_each[3]} == {*np.argsort(distances(3))[1:6]}


def test_an_open_index_is_synced_although_it_was_rebuilt_elsewhere(samples):
    index = indexed(samples)
    index.remove_from_index(sample_ids=samples.ids[:1])
    samples.dataset.load_brain_results("key", cache=False).rebuild(metric="euclidean")
    assert index.sync(dry_run=True).added == samples.ids[:1]


def test_a_rebuild_with_an_unknown_setting_is_refused(samples):
    with pytest.raises(SettingsError, match=r"Cannot rebuild with ef_runtim \(did you mean"):
        indexed(samples).rebuild(ef_runtim=9)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"algorithm": "hnsw"}, {"algorithm": "HNSW"}),
        ({"algorithm": "Flat", "metric": "COSINE"}, {"algorithm": "FLAT", "metric": "cosine"}),
        ({"metric": "L2", "dtype": "FLOAT64"}, {"metric": "euclidean", "dtype": "float64"}),
        ({"metric": "IP", "dtype": "Float16"}, {"metric": "dotproduct", "dtype": "float16"}),
    ],
)
def test_settings_may_be_written_in_any_case(samples, given, meant):
    index = indexed(samples, **given)
    assert {name: getattr(index.config, name) for name in meant} == meant
    assert {name: getattr(saved(samples), name) for name in meant} == meant
    assert len(samples.dataset.sort_by_similarity(samples.ids[0], k=5, brain_key="key")) == 5
    index.find_unique(5)
    name = index.config.index_name
    again = fob.compute_similarity(
        samples.dataset, embeddings=False, backend="redis", index_name=name, **given
    )
    assert again.total_index_size == 60


def test_a_rebuild_takes_settings_in_any_case(samples):
    index = indexed(samples)
    index.rebuild(metric="Euclidean", algorithm="hnsw", storage="hash")
    assert (index.config.metric, index.config.algorithm) == ("euclidean", "HNSW")
    with pytest.raises(SettingsError, match="JSON"):
        index.rebuild(storage="json")


@pytest.mark.parametrize("algorithm", ["svs-vamana", "SVS_VAMANA"])
def test_svs_vamana_may_be_written_as_the_server_does(algorithm):
    config = RedisSimilarityConfig(algorithm=algorithm, compression="lvq8")
    assert (config.algorithm, config.compression) == ("SVS-VAMANA", "LVQ8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"algoritm": "FLAT"}, r"algoritm \(did you mean algorithm\?\)"),
        ({"METRIC": "cosine"}, r"METRIC \(did you mean metric\?\)"),
        ({"indexname": "any"}, r"indexname \(did you mean index_name\?\)"),
        ({"passwort": "s3cret"}, r"passwort \(did you mean password\?\)"),
        ({"patch_field": "any"}, r"patch_field \(did you mean patches_field\?\)"),
        ({"colour": "red"}, "colour; check"),
    ],
)
def test_an_unknown_keyword_gets_the_nearest_known_one(given, message):
    with pytest.raises(SettingsError, match=message) as refused:
        RedisSimilarityConfig(**given)
    assert "s3cret" not in str(refused.value)


def test_progress_can_be_watched(samples):
    index = indexed(samples)
    seen = []
    index.add_to_index(
        samples.embeddings, samples.ids, progress=lambda bar: seen.append(bar.iteration)
    )
    index.get_embeddings(progress=lambda bar: seen.append(bar.iteration))
    assert seen.count(60) >= 2
