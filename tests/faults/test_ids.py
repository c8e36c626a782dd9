"""Ids of any characters: right everywhere, or refused by name."""

import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import InputError

DIM = 4
IDS = [
    "\x01\x02\x1f",
    "a\nb",
    "a\r\nb",
    " lead",
    "trail ",
    "\t",
    "é",
    "e\u0301",
    "日本語",
    "\U0001f600",
    "{slot}",
    "*?[a]^\\",
    "a:b~c",
    "~",
    "docs:",
    "a,b|c",
    "$1",
    "0",
    "-1",
    "\ufeffbom",
    "\u202eright-to-left",
    "\x7f",
    "\x80",
    "x" * 10_000,
]
WITH_NUL = ["a\0b", "\0"]
UNENCODABLE = ["\ud800", "a\udfffb", "\udc80"]
MATRIX = np.random.default_rng(7).normal(size=(len(IDS), DIM)).astype(np.float32)


@pytest.fixture(params=["HASH", "JSON"])
def index(client, request):
    index = VectorIndex.create(
        client, Schema("docs", DIM, metric="euclidean", storage=request.param, tags=("tag",))
    )
    index.add(IDS, MATRIX, {"tag": IDS})
    assert len(index) == len(IDS)
    return index


def test_they_are_right_everywhere(client, index):
    assert index.ids() == sorted(IDS)
    assert set(index.some_ids()) == set(IDS)
    assert index.existing(IDS) == set(IDS)
    assert index.tags(IDS) == {"tag": IDS}
    found = index.fetch(IDS)
    assert found.ids == IDS
    assert np.array_equal(found.vectors, MATRIX)
    assert [hits.ids[0] for hits in index.search(MATRIX, 1)] == IDS
    assert [hits.ids[0] for hits in index.search_ids(IDS, 1)] == IDS
    for id, vector in zip(IDS, MATRIX, strict=True):
        assert index.search(vector[np.newaxis], 2, within=[id])[0].ids == [id]
        assert index.search_ids([id], 1, farthest=True, within=[id])[0].ids == [id]
    assert set(index.search(MATRIX[:1], 100, within=IDS)[0].ids) == set(IDS)
    assert index.remove(IDS[:3]) == 3
    assert index.ids() == sorted(IDS[3:])
    index.drop()
    assert client.keys() == []


def test_they_are_found_by_a_tag(index):
    """But for those that a TAG changes: it has no spaces at its ends, and at most 4096 bytes."""
    plain = [id for id in IDS[1:-1] if id == id.strip()]
    assert len(plain) > 15
    for id in plain:
        assert index.ids_with_tag("tag", [id]) == [id]
    assert sorted(index.ids_with_tag("tag", plain)) == sorted(plain)


def test_the_server_indexes_no_key_with_a_nul_so_such_ids_are_refused(client):
    index = VectorIndex.create(client, Schema("docs", DIM))
    with pytest.raises(InputError, match=r"2 ids with a NUL .*'a\\x00b', '\\x00'"):
        index.add(["fine", *WITH_NUL], MATRIX[:3])
    assert (len(index), client.dbsize()) == (0, 0)
    assert index.existing(WITH_NUL) == set()
    assert index.fetch(WITH_NUL).ids == []


def test_ids_with_a_nul_are_right_in_json_and_in_indexes_of_others(client):
    client.execute_command(
        "FT.CREATE", "theirs", "PREFIX", 1, "theirs:", "SCHEMA", "vector", "VECTOR", "FLAT", 6,
        "TYPE", "FLOAT32", "DIM", DIM, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    ours = VectorIndex.create(client, Schema("docs", DIM, metric="euclidean", storage="JSON"))
    for index in (VectorIndex.open(client, "theirs"), ours):
        index.add(WITH_NUL, MATRIX[:2])
        assert len(index) == 2
        assert [hits.ids for hits in index.search(MATRIX[:2], 1)] == [[id] for id in WITH_NUL]
        assert index.search(MATRIX[:1], 2, within=WITH_NUL[1:])[0].ids == WITH_NUL[1:]
        assert index.remove(WITH_NUL) == 2


def test_they_survive_every_rebuild(client, index):
    changes = (
        [{"dtype": "float64"}, {"algorithm": "HNSW"}]
        if index.schema.storage == "HASH"
        else [{"storage": "HASH"}]
    )
    for change in changes:
        index.rebuild(**change)
        assert index.ids() == sorted(IDS)
        assert np.array_equal(index.fetch(IDS).vectors, MATRIX)


@pytest.mark.parametrize("id", [*UNENCODABLE, "", 7, None, b"bytes"])
def test_what_cannot_be_an_id_is_refused_by_name(index, id):
    with pytest.raises(InputError) as refused:
        index.add(["fine", id], MATRIX[:2], {"tag": ["", ""]})
    assert repr(id) in str(refused.value) or "empty" in str(refused.value)
    assert len(index) == len(IDS)


def test_what_cannot_be_an_id_is_in_no_index(index):
    assert index.existing(["", "0"]) == {"0"}
    assert index.fetch(["", "0"]).ids == ["0"]
    assert index.remove([""]) == 0
    assert index.search(MATRIX[:1], 1, within=["", "0"])[0].ids == ["0"]
    with pytest.raises(InputError, match="not in the index"):
        index.search_ids([""], 1)


@pytest.mark.parametrize("id", [7, None, b"bytes", "\ud800", "a\udfffb"])
def test_what_cannot_be_an_id_is_refused_by_every_read(index, id):
    for read in (
        lambda: index.existing([id]),
        lambda: index.fetch([id]),
        lambda: index.remove([id]),
        lambda: index.tags([id]),
        lambda: index.search(MATRIX[:1], 1, within=[id]),
        lambda: index.search_ids([id], 1),
        lambda: list(index.vectors([id])),
    ):
        with pytest.raises(InputError, match=r"must be text|cannot be encoded") as refused:
            read()
        assert repr(id) in str(refused.value)
