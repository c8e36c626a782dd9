"""Rebuilding, renaming and dropping an index, and removing what is stale."""

import fiftyone.brain as fob
from operating import form, refusals, run

from fiftyone_redis.app import changes
from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES, OPTIONS


def test_what_is_gone_is_removed_after_a_tick(indexed):
    indexed.delete_samples(indexed.take(3, seed=51))
    assert refusals(form("remove_gone", indexed, {"brain_key": "key"})) == ["Tick this to go on."]
    assert refusals(form("remove_gone", indexed, {"brain_key": "key", "sure_key": True})) == []
    assert run("remove_gone", indexed, {"brain_key": "key"}).text == "Removed 3 vectors."


def test_an_index_is_rebuilt(indexed):
    params = {"brain_key": "key", "algorithm": "HNSW", "dtype": "float16", "metric": "cosine"}
    assert refusals(form("rebuild_index", indexed, params)) == ["Tick this to go on."]
    assert run("rebuild_index", indexed, params).text == "The index 'key' is HNSW now."
    assert indexed.load_brain_results("key").config.dtype == "float16"


def test_the_form_for_a_rebuild_begins_with_what_the_run_has(written, model):
    settings = {"algorithm": "HNSW", "m": 8, "ef_construction": 60, "ef_runtime": 50}
    fob.compute_similarity(written, model=model, brain_key="key", backend="redis", **settings)
    written.clear_cache()
    questions = form("rebuild_index", written, {"brain_key": "key"})
    assert {name: questions[name]["default"] for name in settings} == settings


def test_the_form_for_a_rebuild_asks_for_what_the_algorithm_has(indexed, monkeypatch):
    monkeypatch.setattr(changes, "fetch_capabilities", lambda: (ALGORITHMS, tuple(DTYPES)))
    for algorithm in ALGORITHMS:
        params = {"brain_key": "key", "algorithm": algorithm}
        asked = form("rebuild_index", indexed, params).keys() & OPTIONS.keys()
        assert asked == {name for name, option in OPTIONS.items() if option.is_of(algorithm)}


def test_what_the_form_asks_for_reaches_the_rebuild(indexed):
    params = {"brain_key": "key", "algorithm": "HNSW", "ef_runtime": 70, "block_size": 5}
    run("rebuild_index", indexed, params)
    config = indexed.load_brain_results("key").config
    assert (config.ef_runtime, config.block_size) == (70, 1023)


def test_a_tick_holds_for_the_index_that_it_was_given_for(indexed, model):
    fob.compute_similarity(indexed, model=model, brain_key="other", backend="redis")
    params = {"brain_key": "key", "sure_key": True}
    assert refusals(form("drop_index", indexed, params)) == []
    params["brain_key"] = "other"  # chosen in the same form, after the tick
    assert refusals(form("drop_index", indexed, params)) == ["Tick this to go on."]


def test_a_tick_holds_for_the_type_that_it_was_given_for(indexed):
    params = {"brain_key": "key", "dtype": "float16", "sure_key_float16": True}
    assert refusals(form("rebuild_index", indexed, params)) == []
    params["dtype"] = "bfloat16"
    assert refusals(form("rebuild_index", indexed, params)) == ["Tick this to go on."]


def test_an_index_is_renamed(indexed):
    run("rename_index", indexed, {"brain_key": "key", "new_key": "other"})
    assert indexed.list_brain_runs() == ["other"]
    assert indexed.load_brain_results("other").total_index_size == 60


def test_an_index_is_dropped_after_a_tick(indexed, client):
    assert refusals(form("drop_index", indexed, {"brain_key": "key"})) == ["Tick this to go on."]
    assert "60 vectors" in str(form("drop_index", indexed, {"brain_key": "key"}))
    run("drop_index", indexed, {"brain_key": "key", "sure_key": True})
    assert indexed.list_brain_runs() == []
    assert client.dbsize() == 0
