"""Clones and other runs on the same index: nothing of theirs is changed or lost."""

import threading

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.brain.internal.core.redis as own_redis
import numpy as np
import pytest

from fiftyone_redis import sync
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import IndexInUseError, IndexMismatchError
from fiftyone_redis.similarity.index_users import find_run_id


@pytest.fixture
def index(samples):
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )


@pytest.fixture
def clone(index, samples):
    clone = samples.dataset.clone()
    yield clone
    clone.delete()


@pytest.fixture
def add_sample():
    """Adds a sample to a dataset and its vector to the run's index; returns its id."""

    def add_sample(dataset, vector):
        [id] = dataset.add_samples([fo.Sample(filepath="new.png")])
        dataset.load_brain_results("key").add_to_index(vector[None], [id])
        return id

    return add_sample


def nearest(dataset, vector, k=3) -> list[str]:
    return dataset.sort_by_similarity(vector, k=k, brain_key="key").values("id")


def size(dataset) -> int:
    return dataset.load_brain_results("key", cache=False).total_index_size


def name(dataset) -> str:
    return dataset.load_brain_results("key", cache=False).config.index_name


def indexes(client) -> set[str]:
    return {get_alias(name.decode()) for name in client.execute_command("FT._LIST")}


def test_a_clone_shares_the_index_until_it_changes_it(samples, clone, client, add_sample, caplog):
    query = samples.embeddings[5]
    right = nearest(samples.dataset, query)
    assert name(clone) == name(samples.dataset)
    new = add_sample(clone, query)
    assert (size(samples.dataset), size(clone)) == (60, 61)
    assert nearest(samples.dataset, query) == right
    assert set(nearest(clone, query)) == {new, *right[:2]}
    assert indexes(client) == {name(clone), name(samples.dataset)}
    assert "gets a copy of the index" in caplog.text


def test_a_clone_keeps_what_the_original_removes_and_replaces(index, samples, clone, client):
    query = samples.embeddings[5]
    right = nearest(clone, query)
    before = name(samples.dataset)
    index.remove_from_index(sample_ids=right[:1])
    index.add_to_index(-samples.embeddings[:2], samples.ids[:2])
    assert nearest(clone, query) == right
    assert (size(samples.dataset), size(clone)) == (59, 60)
    assert name(samples.dataset) == before
    assert np.array_equal(
        clone.load_brain_results("key").get_embeddings(samples.ids[:2])[0], samples.embeddings[:2]
    )


def test_a_process_that_has_the_clone_open_follows(samples, clone, add_sample):
    other = clone.load_brain_results("key", cache=False)
    add_sample(clone, samples.embeddings[0])
    [id] = clone.add_samples([fo.Sample(filepath="newer.png")])
    other.add_to_index(samples.embeddings[:1], [id])
    assert (size(samples.dataset), size(clone)) == (60, 62)


def test_what_others_write_while_a_clone_gets_its_copy_is_not_lost(samples, clone, monkeypatch):
    """The original is changed, and the clone in another process; a third one searches the clone."""
    original = samples.dataset.load_brain_results("key")
    copy, other = (clone.load_brain_results("key", cache=cache) for cache in (True, False))
    right = nearest(clone, samples.embeddings[5])
    new = (-samples.embeddings[:2], samples.ids[:2])
    second = threading.Thread(target=other.add_to_index, args=new)
    write, seen = copy._write, []

    def write_slowly(*args, **more):
        second.start()
        seen.append(nearest(clone, samples.embeddings[5]))
        second.join(0.3)
        write(*args, **more)

    monkeypatch.setattr(copy, "_write", write_slowly)
    original.remove_from_index(sample_ids=samples.ids[50:])
    second.join()
    assert seen == [right]
    clone.clear_cache()
    found = clone.load_brain_results("key").get_embeddings(new[1])[0]
    assert np.array_equal(found, new[0])
    assert (size(samples.dataset), size(clone)) == (50, 60)


def test_a_clone_that_is_loaded_again_follows_to_its_own_index(clone):
    before = clone.load_brain_results("key", cache=False).config.index_name
    fo.core.odm.get_db_conn()["runs"].update_one(
        {"_id": find_run_id(clone._doc, "key")}, {"$set": {"config.index_name": "another"}}
    )
    assert name(clone) == "another" != before


def test_a_clone_of_patches_gets_a_copy_with_their_samples(patch_index, patches):
    clone = patches.dataset.clone()
    copy = clone.load_brain_results("key")
    copy.remove_from_index(label_ids=patches.label_ids[:1])
    _, sample_ids, label_ids = copy.get_embeddings(label_ids=patches.label_ids)
    assert label_ids.tolist() == patches.label_ids[1:]
    assert sample_ids.tolist() == patches.sample_ids[1:]
    assert patch_index.total_index_size == 57
    clone.delete()


def test_a_copy_has_the_settings_and_the_stored_fields(samples):
    fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        brain_key="key",
        backend="redis",
        metric="euclidean",
        algorithm="HNSW",
        m=8,
        attributes=["filepath"],
    )
    clone = samples.dataset.clone()
    copy = clone.load_brain_results("key")
    copy.remove_from_index(sample_ids=samples.ids[:1])
    schema = copy._open_index().schema
    assert (schema.metric, schema.algorithm, schema.m) == ("euclidean", "HNSW", 8)
    key = f"{copy.config.index_name}:{samples.ids[1]}"
    assert copy.client.hget(key, "filepath").endswith("1.png")
    clone.delete()


@pytest.mark.parametrize("change", [lambda i, **k: i.cleanup(**k), lambda i, **k: i.rebuild(**k)])
def test_what_others_use_is_neither_dropped_nor_rebuilt(index, samples, clone, change):
    for mine, other in ((clone, samples.dataset), (samples.dataset, clone)):
        with pytest.raises(IndexInUseError, match=rf"'key' of the dataset '{other.name}'.*force"):
            change(mine.load_brain_results("key"))
    assert (size(samples.dataset), size(clone)) == (60, 60)
    change(clone.load_brain_results("key"), force=True)


def test_an_index_can_be_dropped_when_others_are_gone(samples, clone, client):
    samples.dataset.delete_brain_run("key")
    clone.load_brain_results("key").cleanup()
    assert indexes(client) == set()


def test_what_another_dataset_has_is_not_gone(index, samples, clone):
    unwanted, shared = samples.ids[:2], samples.ids[2:5]
    samples.dataset.delete_samples(unwanted)
    clone.delete_samples(unwanted + shared)
    copy = clone.load_brain_results("key")
    found = sync.difference(copy)
    assert sorted(found.gone) == sorted(unwanted)
    # What was found before the original had them all back does not count.
    assert sync.remove_gone(copy, sync.Difference([], [], unwanted + shared, 60)) == 2
    assert size(samples.dataset) == 58
    assert name(clone) == name(samples.dataset)


def test_patches_of_another_dataset_are_not_gone(patch_index, patches):
    clone = patches.dataset.clone()
    clone.delete_labels(ids=patches.label_ids[:2], fields="ground_truth")
    assert sync.difference(clone.load_brain_results("key")).gone == []
    patches.dataset.delete_labels(ids=patches.label_ids[:1], fields="ground_truth")
    assert sync.difference(patch_index).gone == patches.label_ids[:1]
    clone.delete()


def test_embeddings_are_not_added_to_an_index_that_another_run_uses(samples, client, caplog):
    first = fob.compute_similarity(
        samples.dataset,
        embeddings=samples.embeddings,
        brain_key="key",
        backend="redis",
        index_name="mine",
    )
    with pytest.raises(IndexInUseError, match="'mine' is also used by the run 'key' of"):
        fob.compute_similarity(
            samples.dataset,
            embeddings=-samples.embeddings,
            brain_key="other",
            backend="redis",
            index_name="mine",
        )
    assert "adds no embeddings" in caplog.text
    assert samples.dataset.list_brain_runs() == ["key"]
    assert np.array_equal(first.get_embeddings(samples.ids)[0], samples.embeddings)


def test_a_name_is_reserved_before_its_index_exists(samples, client):
    def begin(key, **settings):
        settings = {"embeddings": False, "brain_key": key, "index_name": "mine", **settings}
        return fob.compute_similarity(samples.dataset, backend="redis", **settings)

    first, second = begin("first"), begin("second")
    with pytest.raises(IndexInUseError, match=r"'first' of .*, 'second' of"):
        begin("third", embeddings=samples.embeddings)
    second.add_to_index(-samples.embeddings, samples.ids)
    first.add_to_index(samples.embeddings, samples.ids)
    assert np.array_equal(first.get_embeddings(samples.ids)[0], samples.embeddings)
    assert np.array_equal(second.get_embeddings(samples.ids)[0], -samples.embeddings)
    assert first.config.index_name == "mine" != second.config.index_name


def test_a_second_run_can_search_the_index_of_the_first(index, samples):
    second = fob.compute_similarity(
        samples.dataset,
        embeddings=False,
        brain_key="second",
        backend="redis",
        index_name=index.config.index_name,
    )
    assert second.total_index_size == 60
    for run, other in ((second, "key"), (index, "second")):
        with pytest.raises(IndexInUseError, match=f"the run '{other}' of the dataset"):
            run.cleanup()


def test_a_run_of_fiftyones_own_backend_is_a_user(index, samples):
    config = own_redis.RedisSimilarityConfig(index_name=index.config.index_name)
    config.build().register_run(samples.dataset, "own", overwrite=False)
    with pytest.raises(IndexInUseError, match="the run 'own'"):
        index.cleanup()
    samples.dataset.delete_brain_run("own")
    index.cleanup()


def test_the_name_of_the_index_behind_the_alias_is_the_same_index(index, samples, client):
    behind = client.execute_command("FT.INFO", index.config.index_name)[b"index_name"].decode()
    fob.compute_similarity(
        samples.dataset, embeddings=False, brain_key="direct", backend="redis", index_name=behind
    )
    with pytest.raises(IndexInUseError, match="the run 'direct'"):
        index.cleanup()


def test_a_copy_that_fails_leaves_the_clone_as_it_was(samples, clone, client, monkeypatch):
    copy = clone.load_brain_results("key")

    def refuse(*_args, **_more):
        raise IndexMismatchError("no copy today")

    monkeypatch.setattr(copy, "_write", refuse)
    with pytest.raises(IndexMismatchError, match="no copy"):
        copy.remove_from_index(sample_ids=samples.ids[:1])
    assert copy.config.index_name == name(samples.dataset)
    assert indexes(client) == {name(samples.dataset)}
    assert VectorIndex.exists(client, copy.config.index_name)
    assert size(clone) == 60


def test_a_run_is_alone_on_its_index_after_a_rename_and_a_reload(index, samples, client):
    samples.dataset.reload()
    samples.dataset.rename_brain_run("key", "other")
    index.add_to_index(samples.embeddings[:1], samples.ids[:1])
    assert indexes(client) == {index.config.index_name}
    index.cleanup()
    assert indexes(client) == set()


def test_an_index_can_be_dropped_after_its_dataset(samples, client):
    dataset = fo.Dataset()
    ids = dataset.add_samples([fo.Sample(filepath="a.png")])
    index = fob.compute_similarity(dataset, embeddings=False, brain_key="key", backend="redis")
    index.add_to_index(samples.embeddings[:1], ids)
    dataset.delete()
    index.cleanup()
    assert indexes(client) == set()
