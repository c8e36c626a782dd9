"""Documents from JSON to HASH, by a rebuild: what is kept, refused, and left."""

import json

import numpy as np
import pytest
from waiting import repeat_meanwhile

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.lifecycle import rebuild
from fiftyone_redis.errors import FiftyOneRedisError, IndexMismatchError, SettingsError

pytestmark = pytest.mark.needs("json")

COUNT, DIM = 300, 8
VECTOR = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"
OWN = (
    "$.foid AS foid TAG SEPARATOR , "
    f"$.sample_id AS sample_id TAG SEPARATOR , $.vector AS vector {VECTOR}"
)


@pytest.fixture
def matrix(vectors):
    return vectors(COUNT, DIM)


@pytest.fixture
def own(client, matrix):
    """An index as FiftyOne's own backend makes it."""
    make(client, OWN)
    for row, vector in enumerate(matrix.tolist()):
        content = {"foid": name(row), "sample_id": f"s{row}", "vector": vector}
        client.execute_command("JSON.SET", f"own:{name(row)}", "$", json.dumps(content))
    return VectorIndex.open(client, "own")


def make(client, fields: str, storage: str = "JSON") -> None:
    client.execute_command(
        "FT.CREATE", "own", *f"ON {storage} PREFIX 1 own: SCHEMA {fields}".split()
    )


def put(client, key: str, **content) -> None:
    client.execute_command("JSON.SET", key, "$", json.dumps(content))


def name(row: int) -> str:
    return f"{row:03}"


def names() -> list[str]:
    return [name(row) for row in range(COUNT)]


def nearest(index, matrix) -> list[str]:
    return index.search(matrix[:1], 5)[0].ids


def types(client) -> set[bytes]:
    return {client.type(key) for key in client.scan_iter()}


def test_the_fast_form_takes_the_place_of_json(client, own, matrix):
    before = nearest(own, matrix)
    counted = []
    own.rebuild(counted.append, storage="HASH", algorithm="HNSW")

    for seen in (own, VectorIndex.open(client, "own")):
        assert (seen.schema.storage, seen.schema.algorithm) == ("HASH", "HNSW")
        assert seen.schema.owns_prefix
        assert nearest(seen, matrix) == before
        assert np.array_equal(seen.fetch(names()).vectors, matrix)
        assert seen.fetch(names()[:1]).tags == {"sample_id": ["s0"]}
        assert seen.ids() == names()
    assert types(client) == {b"hash"}
    assert client.dbsize() == len(own) == sum(counted) == COUNT
    assert len(client.execute_command("FT._LIST")) == 1


def test_a_converted_index_is_written_and_dropped_like_any_other(client, own, matrix):
    own.rebuild(storage="HASH")
    own.add(["new"], matrix[:1], {"sample_id": ["s"]})
    assert own.fetch(["new"]).tags == {"sample_id": ["s"]}
    own.remove(["new"])
    assert own.ids() == names()
    own.drop()
    assert client.dbsize() == 0


@pytest.mark.parametrize("storage", ["HASH", "JSON"])
def test_no_index_is_rebuilt_as_json(client, matrix, storage):
    index = VectorIndex.create(client, Schema("docs", DIM, storage=storage))
    index.add(names(), matrix)
    with pytest.raises(SettingsError, match="leave out storage to keep documents as they are"):
        index.rebuild(storage="JSON")
    assert VectorIndex.open(client, "docs").schema == index.schema
    assert client.dbsize() == len(index) == COUNT


def test_the_type_of_the_values_changes_on_the_way(client, own, matrix):
    own.rebuild(storage="HASH", dtype="float16")
    assert np.allclose(own.fetch(names()).vectors, matrix, atol=1e-2)
    assert len(client.hget(next(client.scan_iter()), "vector")) == 2 * DIM


def test_all_fields_of_the_documents_go_along(client, matrix):
    make(
        client,
        f"$.label AS tag TAG $.title AS title TEXT WEIGHT 2 SORTABLE $.n AS n NUMERIC "
        f"$.place AS place GEO $.emb AS vec {VECTOR}",
    )
    content = {"label": "a,b", "title": "é", "n": 1.5, "place": "1,2", "yes": True, "no": None}
    put(client, "own:1", **content, emb=matrix[0].tolist())
    index = VectorIndex.open(client, "own")
    assert index.schema.id_field is None

    index.rebuild(storage="HASH")
    [key] = client.scan_iter()
    held = client.hgetall(key)
    assert held.pop(b"vec") == matrix[0].tobytes()
    assert held == {
        b"label": b"a,b",
        b"title": "é".encode(),
        b"n": b"1.5",
        b"place": b"1,2",
        b"yes": b"true",
    }
    for query in (r"@tag:{a\,b}", "@title:é", "@n:[1 2]", "@place:[1 2 1 km]"):
        found = client.execute_command("FT.SEARCH", "own", query, "NOCONTENT", "DIALECT", 2)
        assert found[b"total_results"] == 1, query


@pytest.mark.parametrize("content", [{"boxes": [1, 2]}, {"meta": {"a": 1}}], ids=str)
def test_what_a_hash_cannot_hold_is_told_and_nothing_changes(client, own, matrix, content):
    put(client, "own:007", foid="007", sample_id="s", vector=matrix[7].tolist(), **content)
    [member] = content
    with pytest.raises(IndexMismatchError, match=f"'007' holds lists or objects.*: {member}"):
        own.rebuild(storage="HASH")
    assert client.execute_command("FT._LIST") == [b"own"]
    assert client.dbsize() == COUNT
    assert types(client) == {b"ReJSON-RL"}
    assert client.json().get("own:007")[member] == content[member]


@pytest.mark.parametrize(
    "field", [f"$.second AS second {VECTOR}", "$.a.b AS b TEXT", "$.list[*] AS list TAG"]
)
def test_fields_that_a_hash_cannot_have_are_told(client, field):
    make(client, f"$.vector AS vector {VECTOR} {field}")
    index = VectorIndex.open(client, "own", vector_field="vector")
    with pytest.raises(IndexMismatchError, match="fields that HASH documents cannot have"):
        index.rebuild(storage="HASH")
    assert client.execute_command("FT._LIST") == [b"own"]


def test_a_filter_is_told(client):
    definition = f"ON JSON PREFIX 1 own: FILTER @n<5 SCHEMA $.n AS n NUMERIC $.v AS v {VECTOR}"
    client.execute_command("FT.CREATE", "own", *definition.split())
    with pytest.raises(IndexMismatchError, match="HASH documents cannot have: FILTER"):
        VectorIndex.open(client, "own").rebuild(storage="HASH")


@pytest.mark.parametrize(
    ("storage", "changes"), [("JSON", {"storage": "HASH"}), ("HASH", {"dtype": "float16"})], ids=str
)
def test_documents_that_another_index_reads_are_not_changed(client, matrix, storage, changes):
    vector = f"$.v AS v {VECTOR}" if storage == "JSON" else f"v {VECTOR}"
    make(client, vector, storage)
    definition = f"ON {storage} PREFIX 1 o SCHEMA {vector}"
    client.execute_command("FT.CREATE", "second", *definition.split())
    index = VectorIndex.open(client, "own")
    index.add(names(), matrix)
    with pytest.raises(IndexMismatchError, match="shares its documents with 'second'"):
        index.rebuild(**changes)
    index.rebuild(algorithm="HNSW")
    assert len(VectorIndex.open(client, "second")) == len(index) == COUNT


@pytest.mark.parametrize("step", ["_copy_batch", "_decide"])
def test_a_conversion_that_dies_leaves_the_old_index_and_can_be_run_again(
    client, own, matrix, step, monkeypatch
):
    expected = nearest(own, matrix)

    def die(*args):
        raise FiftyOneRedisError("died")

    with monkeypatch.context() as patched:
        patched.setattr(rebuild._Rebuild, step, die)
        with pytest.raises(FiftyOneRedisError, match="died"):
            own.rebuild(storage="HASH")
    assert own.schema.storage == "JSON"
    assert nearest(VectorIndex.open(client, "own"), matrix) == expected

    own.rebuild(storage="HASH")
    assert nearest(own, matrix) == expected
    assert client.dbsize() == COUNT
    assert len(client.execute_command("FT._LIST")) == 1


def test_searches_are_answered_all_the_time(client, own, matrix):
    expected = nearest(own, matrix)
    other = VectorIndex.open(client, "own")
    with repeat_meanwhile(lambda: nearest(other, matrix)) as answers:
        for changes in ({"storage": "HASH"}, {"dtype": "float64"}, {"algorithm": "HNSW"}):
            own.rebuild(**changes)
    assert len(answers) > 3
    assert all(answer == expected for answer in answers)


def test_an_index_that_was_opened_before_the_change_follows_it(client, own, matrix):
    stale = VectorIndex.open(client, "own")
    own.rebuild(storage="HASH")
    assert nearest(stale, matrix) == nearest(own, matrix)
    assert np.array_equal(stale.fetch(names()).vectors, matrix)


def test_what_comes_and_goes_meanwhile_is_followed(client, own, matrix, monkeypatch):
    copy = rebuild._Rebuild._copy_batch
    meanwhile = []

    def copy_and_change(*args):
        copy(*args)
        if not meanwhile:
            meanwhile.append(True)
            put(client, "own:new", foid="new", sample_id="s", vector=matrix[0].tolist())
            client.delete("own:003")

    monkeypatch.setattr(rebuild._Rebuild, "_copy_batch", copy_and_change)
    own.rebuild(storage="HASH")
    assert set(own.ids()) == {*names(), "new"} - {"003"}
    assert types(client) == {b"hash"}
