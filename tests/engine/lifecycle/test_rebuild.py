"""Rebuilding an index: searches go on, the documents stay, and a rebuild that dies does no harm."""

import numpy as np
import pytest
from waiting import repeat_meanwhile

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.lifecycle import rebuild
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    InputError,
    SettingsError,
    UnsupportedServerError,
)

COUNT, DIM = 500, 8


@pytest.fixture
def vectors():
    return np.random.default_rng(51).normal(size=(COUNT, DIM)).astype(np.float32)


@pytest.fixture
def index(client, vectors):
    index = VectorIndex.create(client, Schema("docs", DIM, tags=("sample_id",)))
    index.add(names(), vectors, {"sample_id": ["s"] * COUNT})
    return index


def names() -> list[str]:
    return [f"{number:03}" for number in range(COUNT)]


def nearest(index, vectors) -> list[str]:
    return index.search(vectors[:1], 5)[0].ids


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "HNSW"},
        {"algorithm": "HNSW", "m": 8, "ef_construction": 50, "ef_runtime": 20},
        {"metric": "euclidean"},
        {"dtype": "float16"},
        {"dtype": "float64", "metric": "dotproduct", "algorithm": "HNSW"},
    ],
)
def test_an_index_becomes_another_one_on_the_same_documents(client, index, vectors, changes):
    index.rebuild(**changes)

    for seen in (index, VectorIndex.open(client, "docs")):
        for name, value in changes.items():
            if name != "ef_runtime" or seen is index:
                assert getattr(seen.schema, name) == value
        assert len(seen) == COUNT
        assert sorted(seen.ids()) == names()
        assert np.allclose(seen.fetch(names()).vectors, vectors, atol=1e-2)
        assert seen.search(vectors[:1], 1)[0].tags == {"sample_id": ["s"]}
    assert client.dbsize() == COUNT
    assert len(client.execute_command("FT._LIST")) == 1


def test_an_index_is_rebuilt_again_and_again(client, index, vectors):
    before = nearest(index, vectors)
    for changes in (
        {"dtype": "float16"},
        {"algorithm": "HNSW"},
        {"dtype": "float32", "algorithm": "FLAT"},
    ):
        index.rebuild(**changes)
        assert nearest(index, vectors) == before
    assert set(client.hkeys("docs:000")) == {index.schema.vector_field.encode(), b"sample_id"}
    assert index.schema.vector_name == "vector"
    index.drop()
    assert client.dbsize() == 0
    assert not client.execute_command("FT._LIST")


def test_searches_are_answered_all_the_time(client, index, vectors):
    expected = nearest(index, vectors)
    other = VectorIndex.open(client, "docs")
    with repeat_meanwhile(lambda: nearest(other, vectors)) as answers:
        for algorithm in ("HNSW", "FLAT", "HNSW"):
            index.rebuild(algorithm=algorithm)

    assert answers
    assert all(answer == expected for answer in answers)


@pytest.mark.parametrize("step", ["convert_dtype", "_create", "_decide"])
def test_a_rebuild_that_dies_leaves_the_old_index_and_can_be_run_again(
    client, index, vectors, step, monkeypatch
):
    expected = nearest(index, vectors)

    def die(*args, **kwargs):
        raise FiftyOneRedisError("died")

    with monkeypatch.context() as patched:
        patched.setattr(rebuild._Rebuild, step, die)
        with pytest.raises(FiftyOneRedisError, match="died"):
            index.rebuild(dtype="float16", algorithm="HNSW")
    assert nearest(VectorIndex.open(client, "docs"), vectors) == expected
    assert index.schema.dtype == "float32"

    index.rebuild(dtype="float16", algorithm="HNSW")
    assert nearest(index, vectors) == expected
    assert len(client.execute_command("FT._LIST")) == 1


def test_what_others_add_after_a_change_of_type_is_found(client, index, vectors):
    other = VectorIndex.open(client, "docs")
    index.rebuild(dtype="float16")
    other.add(["new"], vectors[:1], {"sample_id": ["s"]})
    assert "new" in nearest(index, vectors)


def test_vectors_that_the_new_index_cannot_hold_are_named_and_nothing_changes(client, index):
    index.rebuild(metric="euclidean")
    index.add(["huge"], np.full((1, DIM), 1e6), {"sample_id": ["s"]})
    index.add(["zero"], np.zeros((1, DIM)), {"sample_id": ["s"]})
    with pytest.raises(InputError, match=r"too large for float16 .*'huge'"):
        index.rebuild(dtype="float16")
    with pytest.raises(InputError, match=r"zero, which has no cosine distance .*'zero'"):
        index.rebuild(metric="cosine")
    with pytest.raises(SettingsError, match="dtype 'int4'"):
        index.rebuild(dtype="int4")
    assert VectorIndex.open(client, "docs").schema == index.schema
    assert client.hkeys("docs:000") == [b"vector", b"sample_id"]


@pytest.mark.needs("no int8")
def test_a_type_that_the_server_lacks_is_refused_before_anything_is_touched(client, index):
    with pytest.raises(UnsupportedServerError, match="does not support dtype 'int8'"):
        index.rebuild(dtype="int8")
    assert VectorIndex.open(client, "docs").schema == index.schema
    assert client.hkeys("docs:000") == [b"vector", b"sample_id"]


def test_progress_counts_every_document(index):
    counted = []
    index.rebuild(counted.append, algorithm="HNSW")
    assert sum(counted) == COUNT
