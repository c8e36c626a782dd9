"""The two names of an index: the alias that people use, and the name of its own behind it."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fiftyone_redis.engine import VectorIndex, connect
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError

DIM = 4
DEFINITION = f"SCHEMA vector VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC L2".split()


def indexes(client) -> list[str]:
    return sorted(name.decode() for name in client.execute_command("FT._LIST"))


def make(client, name: str, prefix: str) -> None:
    """Makes an index as somebody with redis-cli does."""
    client.execute_command("FT.CREATE", name, "PREFIX", 1, prefix, *DEFINITION)


def test_a_new_index_has_a_name_of_its_own_behind_its_alias(client, index):
    [name] = indexes(client)
    assert re.fullmatch("docs~[0-9a-f]{8}", name)
    assert index.schema.name == "docs"
    assert VectorIndex.open(client, "docs").schema.server_name == name
    assert client.dbsize() == 0


def test_it_is_searched_described_and_dropped_by_its_alias(client, index, vectors):
    index.add(["a", "b"], vectors(2))
    query = "*=>[KNN 1 @vector $q]"
    arguments = ("PARAMS", 2, "q", vectors(2)[1].tobytes(), "NOCONTENT", "DIALECT", 2)
    found = client.execute_command("FT.SEARCH", "docs", query, *arguments)
    assert [hit[b"id"] for hit in found[b"results"]] == [b"docs:b"]
    assert client.execute_command("FT.INFO", "docs")[b"num_docs"] == 2

    client.execute_command("FT.DROPINDEX", "docs", "DD")
    assert (indexes(client), client.dbsize()) == ([], 0)
    with pytest.raises(IndexNotFoundError):
        VectorIndex.open(client, "docs")
    VectorIndex.create(client, index.schema)


def test_a_name_that_others_took_is_refused_and_nothing_is_made(client, schema):
    make(client, "docs", "docs:")
    with pytest.raises(IndexMismatchError, match="'docs' exists already"):
        VectorIndex.create(client, schema)
    assert indexes(client) == ["docs"]


def test_an_alias_that_others_made_is_refused_and_nothing_is_made(client, schema):
    make(client, "theirs", "theirs:")
    client.execute_command("FT.ALIASADD", "docs", "theirs")
    with pytest.raises(IndexMismatchError, match="an index has that name as an alias already"):
        VectorIndex.create(client, schema)
    assert indexes(client) == ["theirs"]
    assert VectorIndex.open(client, "docs").schema.server_name == "theirs"
    assert client.dbsize() == 0


def test_what_an_interrupted_creation_left_is_removed_by_the_next(client, schema, vectors):
    make(client, "docs~0a1b2c3d", "docs:")
    index = VectorIndex.create(client, schema)
    assert indexes(client) == [index.schema.server_name]


def test_indexes_of_others_that_only_look_like_ours_are_left_alone(client, schema):
    make(client, "docs~0a1b2c3d", "theirs:")
    index = VectorIndex.create(client, schema)
    index.rebuild(algorithm="HNSW")
    index.drop()
    assert indexes(client) == ["docs~0a1b2c3d"]


def test_of_several_that_make_an_index_at_once_one_does(client, redis_server, schema):
    def create(_) -> bool:
        with connect(redis_server.url) as own:
            try:
                VectorIndex.create(own, schema)
            except IndexMismatchError:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [False, False, False, True]
    assert len(indexes(client)) == 1
    assert client.dbsize() == 0


def test_the_leftovers_of_an_index_that_is_gone_are_removed_with_their_documents(client, vectors):
    make(client, "docs~0a1b2c3d", "docs:")
    client.hset("docs:a", "vector", vectors(1).tobytes())
    VectorIndex.remove_leftovers(client, "docs")
    assert (indexes(client), client.dbsize()) == ([], 0)


def test_a_server_whose_memory_is_full_drops_an_index(client, index, vectors):
    index.add(["a"], vectors(1))
    make(client, "docs~0a1b2c3d", "docs:")
    client.config_set("maxmemory", 1)
    try:
        index.drop()
    finally:
        client.config_set("maxmemory", 0)
    assert (indexes(client), client.dbsize()) == ([], 0)


def test_an_index_that_exists_is_not_a_leftover(client, index, vectors):
    index.add(["a"], vectors(1))
    with pytest.raises(IndexMismatchError, match="exists already"):
        VectorIndex.remove_leftovers(client, "docs")
    assert np.array_equal(index.fetch().vectors, vectors(1))
