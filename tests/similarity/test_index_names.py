"""The names of indexes that users did not choose, and what is left behind under them."""

import uuid

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis import RedisSimilarityConfig
from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import SettingsError

VECTORS = np.random.default_rng(51).normal(size=(10, 16)).astype(np.float32)


@pytest.fixture
def make_dataset(redis_backend):
    """Makes datasets of 10 samples, over former ones of the same name."""
    unique, made = uuid.uuid4().hex[:8], set()

    def make_dataset(name: str = "birds") -> fo.Dataset:
        dataset = fo.Dataset(name.replace("birds", f"birds-{unique}"), overwrite=True)
        dataset.add_samples(fo.Sample(filepath=f"{row}.png") for row in range(10))
        made.add(dataset.name)
        return dataset

    yield make_dataset
    for name in made & set(fo.list_datasets()):
        fo.delete_dataset(name)


def compute(dataset, key="key", **settings):
    settings = {"embeddings": VECTORS, **settings}
    return fob.compute_similarity(dataset, brain_key=key, backend="redis", **settings)


def indexes(client) -> set[str]:
    return {get_alias(name.decode()) for name in client.execute_command("FT._LIST")}


def test_keys_that_fold_to_the_same_text_have_names_of_their_own(make_dataset):
    keys = ["clip", "CLIP", "img_1", "img__1", "图像", "картинки", "_", "__"]
    one, two = make_dataset(), make_dataset("birds-eu")
    runs = [(one, key) for key in [*keys, "eu_v1"]] + [(two, "v1")]
    empty = [compute(dataset, key, embeddings=False) for dataset, key in runs]
    for row, index in enumerate(empty):
        index.add_to_index(VECTORS + row, index.samples.values("id"))
    for row, index in enumerate(empty):
        assert index.total_index_size == 10
        assert np.array_equal(index.get_embeddings(index.samples.values("id"))[0], VECTORS + row)


def test_a_name_tells_the_dataset_and_the_key(make_dataset):
    dataset = make_dataset()
    name = compute(dataset, "My_Key").config.index_name
    assert name.startswith(f"fiftyone-{dataset.name}-my-key-")
    assert compute(dataset, "图像").config.index_name.startswith(f"fiftyone-{dataset.name}-")


def test_a_name_stays_when_the_run_is_renamed(make_dataset):
    dataset = make_dataset()
    first = compute(dataset)
    dataset.rename_brain_run("key", "other")
    second = compute(dataset)
    assert dataset.load_brain_results("other", cache=False).total_index_size == 10
    assert first.config.index_name != second.config.index_name


def test_an_empty_name_is_refused(make_dataset):
    with pytest.raises(SettingsError, match="index_name ''"):
        RedisSimilarityConfig(index_name="")
    dataset = make_dataset()
    with pytest.raises(SettingsError, match="index_name ''"):
        compute(dataset, index_name="")
    assert dataset.list_brain_runs() == []


def test_a_script_that_overwrites_its_dataset_leaves_one_index(make_dataset, client):
    for _ in range(3):
        index = compute(make_dataset())
        assert indexes(client) == {index.config.index_name}
        assert client.dbsize() == 10


def test_a_script_that_deletes_its_run_leaves_one_index(make_dataset, client):
    dataset = make_dataset()
    for _ in range(3):
        index = compute(dataset, embeddings=False)
        index.add_to_index(VECTORS, dataset.values("id"))
        assert indexes(client) == {index.config.index_name}
        dataset.delete_brain_run("key")


def test_a_run_that_is_filled_later_removes_what_a_former_one_left(make_dataset, client):
    compute(make_dataset())
    dataset = make_dataset()
    compute(dataset, embeddings=False)
    index = dataset.load_brain_results("key", cache=False)
    index.add_to_index(VECTORS, dataset.values("id"))
    assert indexes(client) == {index.config.index_name}


def test_a_clone_keeps_the_index_of_a_dataset_that_is_overwritten(make_dataset, client):
    first = compute(make_dataset())
    clone = first.samples.clone()
    compute(make_dataset())
    assert clone.load_brain_results("key").total_index_size == 10
    assert len(indexes(client)) == 2
    clone.delete()


def test_the_indexes_of_other_keys_databases_and_people_stay(make_dataset, client):
    dataset = make_dataset()
    compute(dataset, "other")
    dataset.delete_brain_run("other")
    index = compute(dataset)
    dataset.delete_brain_run("key")
    head, digits = index.config.index_name[:-16], index.config.index_name[-16:]
    foreign = {
        f"{head}{'0' * 10}{digits[10:]}",  # of another database
        head.rstrip("-"),  # of version 0.1.0
        f"{index.config.index_name}-mine",
    }
    for name in foreign:
        VectorIndex.create(client, Schema(name, 16))
    before = indexes(client)
    again = compute(dataset)
    assert indexes(client) == before - {index.config.index_name} | {again.config.index_name}
    assert foreign <= indexes(client)
