"""Making, filling, reading, describing, renaming and deleting indexes and their runs."""

import re

import fiftyone.brain as fob
import numpy as np
import pytest
from grouped_samples import make_grouped_dataset

from fiftyone_redis import RedisSimilarityIndex
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import (
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
)


@pytest.fixture
def index(samples) -> RedisSimilarityIndex:
    return fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="redis"
    )


def test_embeddings_come_from_a_field(samples):
    samples.dataset.set_values("embedding", list(samples.embeddings))
    index = fob.compute_similarity(
        samples.dataset, embeddings="embedding", brain_key="key", backend="redis"
    )
    assert index.total_index_size == 60


def test_an_index_can_start_empty(samples):
    index = fob.compute_similarity(
        samples.dataset, embeddings=False, brain_key="key", backend="redis", index_name="mine"
    )
    assert index.total_index_size == 0
    index.add_to_index(samples.embeddings[:10], samples.ids[:10])
    assert index.total_index_size == 10
    assert index.config.index_name == "mine"


def test_samples_come_and_go(index, samples):
    index.remove_from_index(sample_ids=samples.ids[:10])
    assert index.total_index_size == 50
    index.add_to_index(samples.embeddings[:5], samples.ids[:5])
    assert index.total_index_size == 55


def test_patches_come_and_go(patch_index, patches):
    patch_index.remove_from_index(label_ids=patches.label_ids[:2])
    assert patch_index.total_index_size == 55
    patch_index.remove_from_index(sample_ids=patches.sample_ids[:1])
    assert patch_index.total_index_size == 54


def test_all_embeddings_are_read_back(index, samples):
    embeddings, sample_ids, label_ids = index.get_embeddings()
    rows = [samples.ids.index(sample_id) for sample_id in sample_ids]
    assert np.array_equal(embeddings, samples.embeddings[rows])
    assert sorted(rows) == list(range(60))
    assert label_ids is None


def test_embeddings_of_some_samples_are_read_in_their_order(index, samples):
    wanted = samples.ids[30:20:-1]
    embeddings, sample_ids, _ = index.get_embeddings(sample_ids=wanted)
    assert sample_ids.tolist() == wanted
    assert np.array_equal(embeddings, samples.embeddings[30:20:-1])


def test_one_id_is_enough(index, samples):
    embeddings, sample_ids, _ = index.get_embeddings(sample_ids=samples.ids[3])
    assert embeddings.shape == (1, 16)
    assert sample_ids.tolist() == [samples.ids[3]]


def test_embeddings_of_patches_are_read_by_label(patch_index, patches):
    embeddings, sample_ids, label_ids = patch_index.get_embeddings(label_ids=patches.label_ids[4:8])
    assert label_ids.tolist() == patches.label_ids[4:8]
    assert sample_ids.tolist() == patches.sample_ids[4:8]
    assert np.array_equal(embeddings, patches.embeddings[4:8])


def test_embeddings_of_patches_are_read_by_sample(patch_index, patches):
    wanted = patches.dataset.values("id")[2:6]
    embeddings, sample_ids, label_ids = patch_index.get_embeddings(sample_ids=wanted)
    assert sorted(label_ids) == sorted(patches.label_ids[6:18])
    assert set(sample_ids) == set(wanted)
    rows = [patches.label_ids.index(label_id) for label_id in label_ids]
    assert np.array_equal(embeddings, patches.embeddings[rows])


def test_missing_ids_are_skipped_or_refused(index, samples):
    index.remove_from_index(sample_ids=samples.ids[:2])
    embeddings, _, _ = index.get_embeddings(sample_ids=samples.ids[:5])
    assert len(embeddings) == 3
    with pytest.raises(InputError, match=f"2 IDs.*{samples.ids[0]}"):
        index.get_embeddings(sample_ids=samples.ids[:5], allow_missing=False)
    with pytest.raises(InputError, match="2 IDs"):
        index.remove_from_index(sample_ids=samples.ids[:5], allow_missing=False)
    assert index.total_index_size == 58


def test_missing_samples_of_patches_are_refused(patch_index, patches):
    without_patches = patches.dataset.last().id
    with pytest.raises(InputError, match=without_patches):
        patch_index.get_embeddings(sample_ids=[without_patches], allow_missing=False)


def test_existing_ids_are_replaced_kept_or_refused(index, samples):
    ones = np.ones((1, 16))
    index.add_to_index(ones, samples.ids[:1], overwrite=False)
    assert np.array_equal(index.get_embeddings(samples.ids[:1])[0], samples.embeddings[:1])
    index.add_to_index(ones, samples.ids[:1])
    assert np.array_equal(index.get_embeddings(samples.ids[:1])[0], ones)
    with pytest.raises(InputError, match="already exist"):
        index.add_to_index(ones, samples.ids[:1], allow_existing=False)


def test_warnings_say_how_many(index, samples, caplog):
    index.add_to_index(samples.embeddings[:3], samples.ids[:3], warn_existing=True)
    index.remove_from_index(sample_ids=["0" * 24], warn_missing=True)
    assert "Overwriting 3 IDs" in caplog.text
    assert "Ignoring 1 ID that" in caplog.text


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.full((60, 16), np.nan), r"vectors hold NaN or infinite values \(60 of 60\)"),
        (np.zeros((60, 16)), r"vectors are zero.* \(60 of 60\)"),
        (np.ones((60, 40_000)), "dimension must be in 1..32768"),
    ],
)
def test_bad_embeddings_leave_no_trace(samples, client, embeddings, message):
    with pytest.raises(InputError, match=message):
        fob.compute_similarity(
            samples.dataset, embeddings=embeddings, brain_key="key", backend="redis"
        )
    assert client.execute_command("FT._LIST") in ([], set())
    assert client.dbsize() == 0
    assert not samples.dataset.list_brain_runs()


def test_bad_additions_leave_the_index_as_it_was(index, samples):
    with pytest.raises(InputError, match="dimension 15, but the index has dimension 16"):
        index.add_to_index(np.ones((1, 15)), ["0" * 24])
    with pytest.raises(InputError, match=r"hold NaN or infinite values \(1 of 2\)"):
        index.add_to_index(np.array([[1.0] * 16, [np.nan] * 16]), ["0" * 24, "1" * 24])
    with pytest.raises(InputError, match="more than once"):
        index.add_to_index(np.ones((2, 16)), ["0" * 24, "0" * 24])
    assert index.total_index_size == 60
    assert samples.dataset.list_brain_runs() == ["key"]


def test_a_run_is_loaded_with_its_own_settings(index, samples):
    loaded = samples.dataset.load_brain_results("key", cache=False)
    assert type(loaded) is RedisSimilarityIndex
    assert loaded.config.index_name == index.config.index_name
    assert (loaded.config.metric, loaded.config.algorithm) == ("cosine", "FLAT")


def test_runs_are_listed_by_type_and_attributes(index, samples):
    dataset = samples.dataset
    assert dataset.list_brain_runs(type=fob.Similarity) == ["key"]
    assert dataset.list_brain_runs(method="redis", metric="cosine") == ["key"]
    assert dataset.list_brain_runs(metric="euclidean") == []
    assert dataset.list_brain_runs(patches_field="ground_truth") == []


def test_a_run_can_be_renamed_and_deleted(index, samples):
    samples.dataset.rename_brain_run("key", "other")
    assert samples.dataset.load_brain_results("other", cache=False).total_index_size == 60
    samples.dataset.delete_brain_run("other")
    assert samples.dataset.list_brain_runs() == []
    assert index.total_index_size == 60


def test_what_else_lies_under_the_prefix_does_no_harm(index, samples, client):
    name = index.config.index_name
    client.set(f"{name}:note", "text")
    client.hset(f"{name}:{'0' * 24}", "field", "without a vector")
    index.reload()
    assert len(index.sample_ids) == index.index_size == 60
    embeddings, sample_ids, _ = index.get_embeddings(allow_missing=False)
    assert len(embeddings) == len(sample_ids) == 60
    assert len(index._kneighbors(k=3)) == 60


def test_embeddings_that_vanish_while_they_are_read_are_missed(index, samples, client):
    assert index.index_size == 60
    client.delete(f"{index.config.index_name}:{samples.ids[7]}")
    with pytest.raises(IncompleteResultError, match=r"removed 1 embedding from.*reload\(\)"):
        index.find_duplicates(thresh=0.1)
    index.reload()
    index.find_duplicates(thresh=0.1)


def test_cleanup_deletes_the_index_and_nothing_else(index, samples, client):
    client.set("somebody-elses", "key")
    index.cleanup()
    index.cleanup()
    assert client.keys() == [b"somebody-elses"]
    assert index.total_index_size == 0


def test_an_index_that_does_not_exist_is_said_to_be_missing(index, samples):
    index.cleanup()
    for use in (
        index.get_embeddings,
        lambda: index.remove_from_index(sample_ids=samples.ids[:1]),
        lambda: samples.dataset.sort_by_similarity(samples.ids[0], k=3, brain_key="key"),
    ):
        with pytest.raises(IndexNotFoundError, match="does not exist"):
            use()


def test_an_existing_index_is_opened_with_its_own_metric(samples, client):
    existing = VectorIndex.create(client, Schema("mine", 16, metric="euclidean", algorithm="HNSW"))
    existing.add(samples.ids, samples.embeddings)

    index = fob.compute_similarity(
        samples.dataset, embeddings=False, index_name="mine", brain_key="key", backend="redis"
    )

    assert index.total_index_size == 60
    assert (index.config.metric, index.config.algorithm) == ("euclidean", "HNSW")
    info = samples.dataset.get_brain_info("key")
    assert info.config.metric == "euclidean"


def test_an_existing_index_that_does_not_fit_is_refused(samples, patches, client):
    VectorIndex.create(client, Schema("mine", 16, metric="euclidean"))
    with pytest.raises(IndexMismatchError, match="metric='euclidean', not 'cosine'"):
        fob.compute_similarity(
            samples.dataset,
            embeddings=False,
            index_name="mine",
            metric="cosine",
            brain_key="key",
            backend="redis",
        )
    with pytest.raises(IndexMismatchError, match="not an index of patches"):
        fob.compute_similarity(
            patches.dataset,
            embeddings=False,
            index_name="mine",
            patches_field="ground_truth",
            brain_key="key",
            backend="redis",
        )
    assert not samples.dataset.list_brain_runs()
    assert not patches.dataset.list_brain_runs()


def test_two_empty_indexes_of_a_dataset_do_not_share_a_name(samples):
    names = {
        fob.compute_similarity(
            samples.dataset, embeddings=False, brain_key=key, backend="redis"
        ).config.index_name
        for key in ("one", "two")
    }
    assert len(names) == 2


def test_a_second_process_of_a_run_sees_what_the_first_added(samples):
    first = fob.compute_similarity(
        samples.dataset, embeddings=False, brain_key="key", backend="redis"
    )
    second = samples.dataset.load_brain_results("key", cache=False)
    first.add_to_index(samples.embeddings, samples.ids)
    assert second.total_index_size == 60
    assert len(second.sort_by_similarity(samples.ids[0], k=5)) == 5


def test_the_client_speaks_text(index):
    name = index.config.index_name
    assert index.client.ping()
    behind = index.client.ft(name).info()["index_name"]
    assert re.fullmatch(rf"{name}~[0-9a-f]{{8}}", behind)
    assert index.client.keys("*:*")[0].startswith(name)


def test_samples_of_groups_are_indexed(redis_backend):
    dataset = make_grouped_dataset(10)
    left = dataset.select_group_slices("left")
    vectors = np.random.default_rng(0).normal(size=(10, 8))
    fob.compute_similarity(left, embeddings=vectors, brain_key="key", backend="redis")

    found = left.sort_by_similarity(left.first().id, k=3, brain_key="key")

    assert found.first().id == left.first().id
    assert len(found) == 3
    dataset.delete()


@pytest.mark.parametrize(
    "read",
    [
        lambda index: index.sample_ids,
        lambda index: index.get_embeddings(),
        lambda index: index.find_duplicates(thresh=0.1),
        lambda index: index.find_unique(3),
        lambda index: index.sort_by_similarity(index.samples.first().id, k=3),
        lambda index: index._kneighbors(k=2),
    ],
    ids=["sample_ids", "get_embeddings", "find_duplicates", "find_unique", "sort", "all points"],
)
def test_an_index_that_is_gone_is_never_an_empty_one(index, samples, client, read):
    client.execute_command("FT.DROPINDEX", index.config.index_name, "DD")
    samples.dataset.clear_cache()
    loaded = samples.dataset.load_brain_results("key")
    for held in (index, loaded):
        with pytest.raises(IndexNotFoundError):
            read(held)
