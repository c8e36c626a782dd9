"""Keys of other people under a prefix: refused at first, then neither counted nor deleted."""

import children
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import IndexMismatchError

DIM = 4
IDS = [f"{row:05}" for row in range(20)]

KEYS = {
    "hash": lambda client: client.hset("docs:42", mapping={"name": "Ada"}),
    "string": lambda client: client.set("docs:42", "Ada"),
    "set": lambda client: client.sadd("docs:42", "Ada"),
    "JSON": lambda client: client.json().set("docs:42", "$", {"name": "Ada"}),
    "vector of another size": lambda client: client.hset("docs:42", "vector", b"12345"),
    "name with a NUL": lambda client: client.hset("docs:\x0042", "vector", b"\1" * 4 * DIM),
}


@pytest.mark.parametrize("storage", ["HASH", "JSON"])
@pytest.mark.parametrize("put", KEYS.values(), ids=KEYS)
def test_keys_that_were_there_before_are_refused_by_name(client, put, storage):
    put(client)
    [key] = client.keys()
    held = client.dump(key)
    with pytest.raises(IndexMismatchError, match=r"1 key beginning with 'docs:' .*42"):
        VectorIndex.create(client, Schema("docs", DIM, storage=storage))
    assert (client.keys(), client.dump(key)) == ([key], held)
    assert client.execute_command("FT._LIST") == []


@pytest.mark.parametrize("name", [name for name in KEYS if name[0] not in "nv"])
def test_keys_that_came_later_are_neither_counted_nor_read_nor_deleted(
    client, index, vectors, name
):
    index.add(IDS, vectors(20))
    KEYS[name](client)
    assert len(index) == 20
    assert set(index.search(vectors(1), 100)[0].ids) == set(IDS)
    assert index.ids() == index.fetch().ids == IDS
    assert index.existing([*IDS, "42"]) == set(IDS)
    held = client.dump("docs:42")
    index.rebuild(dtype="float16")
    index.rebuild(metric="cosine")
    assert index.ids() == IDS
    index.drop()
    assert (client.keys(), client.dump("docs:42")) == ([b"docs:42"], held)


def test_a_hash_of_others_is_not_removed_by_id(client, index, vectors):
    KEYS["hash"](client)
    assert index.remove(["42"]) == 0
    assert client.exists("docs:42")


def test_documents_without_an_index_are_taken_over(client, index, vectors):
    index.add(IDS, vectors(20))
    index.drop(documents=False)
    again = VectorIndex.create(client, Schema("docs", DIM, metric="euclidean"))
    assert again.ids() == IDS
    assert np.array_equal(again.fetch(IDS).vectors, vectors(20))


def test_documents_of_a_rebuilt_type_without_an_index_are_taken_over(client, index, vectors):
    index.add(IDS, vectors(20))
    index.rebuild(dtype="float64")
    index.drop(documents=False)
    again = VectorIndex.create(client, Schema("docs", DIM, metric="euclidean"))
    assert np.array_equal(again.fetch(IDS).vectors, vectors(20))
    assert {tuple(client.hkeys(key)) for key in client.scan_iter()} == {(b"vector",)}


def test_documents_of_a_rebuilt_type_without_an_index_are_removed(client, index, vectors):
    index.add(IDS, vectors(20))
    index.rebuild(dtype="float64")
    index.drop(documents=False)
    VectorIndex.remove_leftovers(client, "docs")
    assert client.keys() == []


def test_documents_of_a_rebuilt_type_are_taken_over_if_others_dropped_their_index(
    client, index, vectors
):
    index.add(IDS, vectors(20))
    index.rebuild(dtype="float64")
    client.execute_command("FT.DROPINDEX", "docs")
    again = VectorIndex.create(client, Schema("docs", DIM, dtype="float64"))
    assert np.array_equal(again.fetch(IDS).vectors, vectors(20))
    assert {tuple(client.hkeys(key)) for key in client.scan_iter()} == {(b"vector",)}


def test_documents_of_a_rebuilt_type_are_removed_if_others_dropped_their_index(
    client, index, vectors
):
    KEYS["hash"](client)
    client.rename("docs:42", "other:42")
    index.add(IDS, vectors(20))
    index.rebuild(dtype="float64")
    client.rename("other:42", "docs:42")
    client.execute_command("FT.DROPINDEX", "docs")
    VectorIndex.remove_leftovers(client, "docs")
    assert client.keys() == [b"docs:42"]


def test_documents_of_a_rebuilt_type_beside_keys_of_others_are_left_as_they_are(
    client, index, vectors
):
    index.add(IDS, vectors(20))
    index.rebuild(dtype="float64")
    client.execute_command("FT.DROPINDEX", "docs")
    KEYS["hash"](client)
    held = {key: client.dump(key) for key in client.scan_iter()}
    with pytest.raises(IndexMismatchError, match="beginning with 'docs:'"):
        VectorIndex.create(client, Schema("docs", DIM, dtype="float64"))
    assert {key: client.dump(key) for key in client.scan_iter()} == held


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("end", ["create", "remove_leftovers"])
def test_a_drop_that_was_killed_is_finished(client, redis_server, vectors, end):
    requests = kills = 0
    while True:
        index = VectorIndex.create(client, Schema("docs", DIM))
        index.add(IDS, vectors(20))
        client.hset("docs:42", "name", "Ada")
        if not children.was_killed(redis_server.url, lambda index: index.drop(), requests):
            break
        kills += 1
        requests += 1
        if VectorIndex.exists(client, "docs"):
            assert VectorIndex.open(client, "docs").ids() == IDS
            VectorIndex.open(client, "docs").drop()
        client.delete("docs:42")
        if end == "remove_leftovers":
            VectorIndex.remove_leftovers(client, "docs")
        else:
            new = VectorIndex.create(client, Schema("docs", DIM))
            assert new.ids() == []
            new.drop()
        assert client.keys() == []
    assert kills > 8
    assert client.keys() == [b"docs:42"]


def test_the_documents_of_another_index_are_never_deleted(client, vectors):
    """As those of a plain index under a longer prefix, which others made."""
    index = VectorIndex.create(client, Schema("docs", DIM))
    client.execute_command(
        "FT.CREATE", "theirs", "PREFIX", 1, "docs:of-others:", "SCHEMA", "vector", "VECTOR",
        "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    theirs = VectorIndex.open(client, "theirs")
    theirs.add(IDS, vectors(20))
    index.add(IDS, vectors(20))
    index.drop()
    assert theirs.ids() == IDS
    assert client.dbsize() == 20
    VectorIndex.remove_leftovers(client, "docs")
    assert client.dbsize() == 20
