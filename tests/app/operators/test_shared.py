"""Changes of an index that other runs use."""

from operating import form, refusals, run


def test_dropping_an_index_that_others_use_forgets_it_here_alone(indexed, clone):
    questions = form("drop_index", clone, {"brain_key": "key"})
    assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])
    assert "Forget key here" in str(questions["forget_key"])
    assert refusals(questions) == ["Tick this to go on."]
    ran = run("drop_index", clone, {"brain_key": "key", "forget_key": True})
    assert ran.text == "Dropped 'key'; its vectors are still on the server."
    assert clone.list_brain_runs() == []
    assert indexed.load_brain_results("key").total_index_size == 60


def test_an_index_that_was_to_be_forgotten_alone_keeps_its_vectors(
    indexed, client, redis_backend, free_port
):
    url, redis_backend["url"] = redis_backend["url"], f"redis://127.0.0.1:{free_port}"
    indexed.clear_cache()
    params = {"brain_key": "key", "forget_key": True}
    assert "Forget key" in str(form("drop_index", indexed, params)["forget_key"])
    redis_backend["url"] = url  # the server comes back before the button is pressed
    ran = run("drop_index", indexed, params)
    assert ran.text == "Dropped 'key'; its vectors are still on the server."
    assert client.dbsize() == 60
    assert indexed.list_brain_runs() == []


def test_dropping_an_index_for_others_too_wants_a_second_tick(indexed, clone):
    params = {"brain_key": "key", "others_key": True}
    questions = form("drop_index", clone, params)
    assert "Delete key and its 60 vectors" in str(questions["sure_key"])
    assert refusals(questions) == ["Tick this to go on."]
    assert run("drop_index", clone, {**params, "sure_key": True}).text == "Dropped 'key'."
    indexed.clear_cache()
    assert indexed.load_brain_results("key").total_index_size == 0


def test_rebuilding_an_index_that_others_use_wants_a_tick(indexed, clone):
    params = {"brain_key": "key", "algorithm": "HNSW"}
    questions = form("rebuild_index", clone, params)
    assert indexed.name in str(questions["others_note"])
    assert refusals(questions) == ["Tick this to go on."]
    assert "is also used by" in run("rebuild_index", clone, params).text
    params["others_key"] = True
    assert refusals(form("rebuild_index", clone, params)) == []
    assert run("rebuild_index", clone, params).text == "The index 'key' is HNSW now."


def test_removing_from_an_index_that_others_use_wants_a_second_tick(indexed, clone):
    lost = indexed.take(3, seed=51).values("id")
    indexed.delete_samples(lost)
    clone.delete_samples(lost)
    params = {"brain_key": "key", "sure_key": True}
    questions = form("remove_gone", clone, params)
    assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])
    assert refusals(questions) == ["Tick this to go on."]
    assert "is also used by" in run("remove_gone", clone, params).text
    params["others_key"] = True
    assert refusals(form("remove_gone", clone, params)) == []
    assert run("remove_gone", clone, params).text == "Removed 3 vectors."


def test_a_run_that_uses_the_index_by_another_name_is_named_too(indexed, clone):
    index = indexed.load_brain_results("key")
    index.config.index_name = index.open_index().schema.server_name
    index.save_config()
    for name in ("drop_index", "rebuild_index"):
        questions = form(name, clone, {"brain_key": "key"})
        assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])


def test_what_a_clone_lacks_but_the_original_has_is_not_gone(indexed, clone):
    clone.delete_samples(clone.take(3, seed=51))
    assert "Nothing is stale" in str(form("remove_gone", clone, {"brain_key": "key"}))
