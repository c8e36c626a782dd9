"""An index behind a server that words its refusals as other versions do."""

import numpy as np
import pytest
import redis
from cutter import Cutter
from redis.exceptions import ResponseError
from rewording import Rewording

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import (
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
)

SCHEMA = Schema("docs", 4)
IDS = [f"{row:03}" for row in range(50)]
MATRIX = np.random.default_rng(51).normal(size=(50, 4)).astype(np.float32)


@pytest.fixture
def cutter(reworded):
    """A way to it that loses replies."""
    cutter = Cutter(reworded.port)
    yield cutter
    cutter.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def far(cutter, request):
    """A client that goes this way."""
    with connect(f"redis://127.0.0.1:{cutter.port}?protocol={request.param}") as client:
        yield client


@pytest.fixture
def index(far):
    index = VectorIndex.create(far, SCHEMA)
    index.add(IDS, MATRIX)
    return index


@pytest.mark.parametrize(
    ("wording", "refusals"),
    [
        ("2.10", {"Unknown index name", "nope: no such index", "Index already exists"}),
        ("8.6", {"gone: no such index", "No such index nope", "Index already exists"}),
        (
            "8.8",
            {
                "SEARCH_INDEX_NOT_FOUND Index not found: gone",
                "SEARCH_INDEX_NOT_FOUND Index not found: nope",
                "SEARCH_INDEX_EXISTS Index already exists",
            },
        ),
        (
            "8.10",
            {
                "SEARCH_INDEX_NOT_FOUND: Index not found",
                "SEARCH_INDEX_EXISTS: Index already exists",
            },
        ),
    ],
)
def test_refusals_are_worded_otherwise(client, redis_server, wording, refusals):
    client.execute_command("FT.CREATE", "docs", "SCHEMA", "a", "TAG")
    way = Rewording(redis_server.port, wording)
    told = set()
    with redis.Redis(port=way.port) as far:
        for command in ("FT.INFO nope", "FT.SEARCH nope *", "FT.CREATE docs SCHEMA a TAG"):
            with pytest.raises(ResponseError) as error:
                far.execute_command(*command.split())
            told.add(str(error.value))
    way.close()
    assert told == refusals


def test_nothing_but_refusals_is_worded_otherwise(client, far):
    value = b"-Unknown index name\r\n-docs: no such index\r\n$5\r\n" * 50_000
    client.set("key", value)
    assert far.get("key") == value
    assert far.mget("none", "key", "none") == [None, value, None]


def test_an_index_that_is_missing_is_missing(far):
    assert not VectorIndex.exists(far, "docs")
    with pytest.raises(IndexNotFoundError, match="check index_name"):
        VectorIndex.open(far, "docs")


def test_an_index_is_made_once(far, index):
    assert VectorIndex.exists(far, "docs")
    with pytest.raises(IndexMismatchError, match="exists already"):
        VectorIndex.create(far, SCHEMA)
    assert len(index) == 50


def test_an_index_that_is_dropped_is_missing(far, index):
    VectorIndex.open(far, "docs").drop()
    for use in (
        lambda: index.search(MATRIX[:1], 3),
        lambda: len(index),
        lambda: index.add(IDS, MATRIX),
        index.drop,
    ):
        with pytest.raises(IndexNotFoundError):
            use()


@pytest.mark.parametrize("far", [3], indirect=True)
def test_a_search_that_asks_for_more_than_the_server_gives_finds_all(few_results, index):
    [found] = index.search(MATRIX[:1], 50)
    assert sorted(found.ids) == IDS


@pytest.mark.parametrize("timeout_policy", ["FAIL"], indirect=True)
def test_a_query_that_takes_too_long_is_refused(timeout_policy, filled, far):
    filled(np.ones((20_000, 128), np.float32), metric="euclidean")
    index = VectorIndex.open(far, "filled")
    index.timeout = 0.001
    with pytest.raises(IncompleteResultError, match=r"query_timeout.*Timeout limit was reached"):
        index.search(np.ones((1, 128)), 10_000)


def test_what_was_done_before_its_reply_was_lost_is_done(cutter, far):
    for command in (
        ["FT.CREATE", "docs", "SCHEMA", "a", "TAG"],
        ["FT.ALIASADD", "other", "docs"],
        ["FT.ALIASDEL", "other"],
        ["FT.DROPINDEX", "docs"],
    ):
        cutter.cut_reply_to(command[0].encode())
        assert far.execute(*command) == b"OK"
        assert cutter.is_done
    assert not VectorIndex.exists(far, "docs")


@pytest.mark.parametrize(
    "command",
    [
        ["FT.ALIASADD", "other", "nope"],
        ["FT.ALIASUPDATE", "other", "nope"],
        ["FT.DROPINDEX", "nope"],
        ["FT.CREATE", "docs", "SCHEMA", "a", "TAG"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused_when_no_reply_was_lost(client, far, command):
    client.execute_command("FT.CREATE", "docs", "SCHEMA", "a", "TAG")
    with pytest.raises((IndexNotFoundError, IndexMismatchError)):
        far.execute(*command)
