"""Indexes and aliases that some nodes of a cluster lack; played back, with other lists."""

import pytest
from playback import Playback, bulk

from fiftyone_redis.connection.cluster.partial_index import explain_partial_index
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import IndexMismatchError

NOT_FOUND = b"-SEARCH_INDEX_NOT_FOUND Index not found: docs\r\n"
EXISTS = b"-SEARCH_INDEX_EXISTS Index already exists\r\n"


def lists(node: Playback, kept: list[str]) -> None:
    names = b"".join(b"+%s\r\n" % name.encode() for name in kept)
    node.answer(lambda words: words == ["FT._LIST"], b"*%d\r\n%b" % (len(kept), names))


def partial_index(played, index: str) -> Playback:
    """Makes an index exist on all nodes but the last, which is returned."""
    *having, lacking = played.nodes
    for node in having:
        lists(node, ["a", "b", index])
    played.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    played.answer(lambda words: words[:2] == ["FT.CREATE", "docs"], EXISTS)
    played.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    return lacking


@pytest.mark.parametrize("name", ["docs", "docs~7f3a"])
def test_an_index_that_a_node_lacks_is_named_with_what_repairs_it(played, cluster_client, name):
    lacking = partial_index(played, name)
    named = rf"{name}' exists on some nodes.*not on 127.0.0.1:{lacking.port};.*FT.DROPINDEX {name}`"
    with pytest.raises(IndexMismatchError, match=named):
        VectorIndex.open(cluster_client, "docs")
    with pytest.raises(IndexMismatchError, match=named):
        VectorIndex.exists(cluster_client, "docs")
    with pytest.raises(IndexMismatchError, match=named):
        cluster_client.execute("FT.CREATE", "docs", "SCHEMA", "t", "TAG")


def test_an_alias_that_a_node_lacks_is_named_with_what_repairs_it(played, cluster_client):
    for node in played.nodes:
        lists(node, ["a", "docs~7f3a"])
    played.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    *having, lacking = played.nodes
    lacking.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    for node in having:
        node.answer(lambda words: words[0] == "FT.EXPLAIN", bulk("*"))
    with pytest.raises(
        IndexMismatchError,
        match=rf"alias 'docs' .* not on 127.0.0.1:{lacking.port};.*FT.ALIASUPDATE docs docs~7f3a`",
    ):
        VectorIndex.open(cluster_client, "docs")


def test_an_index_that_no_node_has_does_not_exist(played, cluster_client):
    played.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    played.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    assert not VectorIndex.exists(cluster_client, "docs")
    assert explain_partial_index(cluster_client, "docs") is None


def test_an_index_that_a_node_lacks_can_be_dropped(played, cluster_client):
    partial_index(played, "docs")
    played.answer(lambda words: words[:2] == ["FT.DROPINDEX", "docs"], b"+OK\r\n")
    assert cluster_client.execute("FT.DROPINDEX", "docs") == b"OK"
