"""Indexes that others made: other storages, fields and prefixes, ids that keys do not hold."""

import json
from dataclasses import dataclass

import brute_force
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.search import planner
from fiftyone_redis.errors import IndexMismatchError, SettingsError

NEEDS_JSON = pytest.mark.needs("json")
COUNT, DIM = 60, 4
FLAT = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC L2"
HNSW = f"VECTOR HNSW 8 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC L2 M 8"


@dataclass(frozen=True)
class Layout:
    """How others lay out an index: its definition, and each document's key and content."""

    definition: str
    key: str
    vector: str = "vector"
    id: str | None = None
    options: tuple[tuple[str, str], ...] = ()


LAYOUTS = {
    "FiftyOne's own": Layout(
        "ON JSON PREFIX 1 f: SCHEMA $.foid AS foid TAG SEPARATOR , $.sample_id AS sample_id TAG "
        f"SEPARATOR , $.vector AS vector {FLAT}",
        "f:{id}",
        id="foid",
    ),
    "HASH with a separator of its own": Layout(
        f"ON HASH PREFIX 1 f SCHEMA title TEXT embedding {FLAT}", "f::{id}", "embedding"
    ),
    "HASH with ids in a tag": Layout(
        f"ON HASH PREFIX 1 f: SCHEMA uid TAG SORTABLE emb AS e {HNSW}",
        "f:{row}x{row}",
        "emb",
        "uid",
        (("id_field", "uid"),),
    ),
    "HASH with ids in a field that is not indexed": Layout(
        f"ON HASH PREFIX 1 f: SCHEMA v {FLAT}", "f:{row}x", "v", "uid", (("id_field", "uid"),)
    ),
    "JSON with ids in a tag": Layout(
        f"ON JSON PREFIX 1 f SCHEMA $.uid AS who TAG $.emb AS v {FLAT}",
        "f:{row}x",
        "emb",
        "uid",
        (("id_field", "who"),),
    ),
    "JSON with ids in a field that is not indexed": Layout(
        f"ON JSON PREFIX 1 f: SCHEMA $.v AS v {FLAT}",
        "f:{row}x",
        "v",
        "uid",
        (("id_field", "uid"),),
    ),
    "HASH with several prefixes": Layout(
        f"ON HASH PREFIX 3 a: b: a:b: SCHEMA v {FLAT}", "{ab}:{id}", "v"
    ),
    "HASH without a prefix": Layout(f"ON HASH SCHEMA v {FLAT}", "{id}", "v"),
    "JSON without a prefix": Layout(f"ON JSON SCHEMA $.v AS v {FLAT}", "{id}", "v"),
    "HASH with a filter": Layout(
        f"ON HASH PREFIX 1 f: FILTER @n<1000 SCHEMA n NUMERIC v {FLAT}", "f:{id}", "v"
    ),
    "HASH with two vectors": Layout(
        f"ON HASH PREFIX 1 f: SCHEMA other {HNSW} v {FLAT}",
        "f:{id}",
        "v",
        options=(("vector_field", "v"),),
    ),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=NEEDS_JSON if "ON JSON" in layout.definition else ())
        for name, layout in LAYOUTS.items()
    ]
)
def layout(request):
    return LAYOUTS[request.param]


@pytest.fixture
def matrix(vectors):
    return vectors(COUNT)


@pytest.fixture
def opened(client, layout, matrix):
    """An index that others made, of 60 documents, opened here."""
    client.execute_command("FT.CREATE", "theirs", *layout.definition.split())
    for row in range(COUNT):
        write(client, layout, row, matrix[row])
    return VectorIndex.open(client, "theirs", **dict(layout.options))


def write(client, layout, row, vector):
    """Writes a document as others would."""
    key = layout.key.format(id=name(row), row=row, ab="ab"[row % 2])
    fields = {"n": row, "title": f"title {row}", "sample_id": f"s{row % 3}"}
    if layout.id:
        fields[layout.id] = name(row)
    if "ON JSON" in layout.definition:
        content = {**fields, layout.vector: vector.tolist(), "more": {"than": ["others", "know"]}}
        client.execute_command("JSON.SET", key, "$", json.dumps(content))
    else:
        client.hset(key, mapping={**fields, layout.vector: vector.tobytes()})


def name(row: int) -> str:
    return f"{row:03}-Ab"


def names() -> list[str]:
    return [name(row) for row in range(COUNT)]


def nearest(matrix, query, k: int, among=None) -> list[str]:
    order = brute_force.nearest("euclidean", query, matrix)
    rows = [row for row in order if among is None or name(row) in among]
    return [name(row) for row in rows[:k]]


def test_it_is_read(opened, matrix):
    found = opened.fetch(names()[:20:-1])
    assert found.ids == names()[:20:-1]
    assert np.array_equal(found.vectors, matrix[:20:-1])
    assert opened.ids() == names()
    assert np.array_equal(opened.fetch().vectors, matrix)
    assert opened.existing([*names()[:3], "other"]) == set(names()[:3])
    assert opened.fetch(["other"]).ids == []
    assert len(opened) == COUNT


@pytest.mark.parametrize("plan", ["filtered by the server", "searched wider"])
def test_it_is_searched(opened, matrix, plan, monkeypatch):
    monkeypatch.setattr(
        planner, "is_prefilter_cheaper", lambda *_: plan == "filtered by the server"
    )
    for query in matrix[:3]:
        assert opened.search(query[np.newaxis], 5)[0].ids == nearest(matrix, query, 5)
    few, most = names()[10:14], names()[:55]
    assert opened.search(matrix[:1], 3, within=few)[0].ids == nearest(matrix, matrix[0], 3, few)
    assert opened.search(matrix[:1], 9, within=most)[0].ids == nearest(matrix, matrix[0], 9, most)
    assert opened.search(matrix[:1], 9, within=["other"])[0].ids == []
    sampled = opened.some_ids()
    assert sampled
    assert set(sampled) <= set(names())
    farthest = opened.search(matrix[:1], 2, farthest=True)[0].ids
    assert farthest == nearest(matrix, matrix[0], COUNT)[:-3:-1]


def test_documents_are_replaced_added_and_removed(client, opened, matrix, layout):
    before, keys = client.dbsize(), set(client.scan_iter())
    tags = {tag: ["t"] * 2 for tag in opened.schema.tags}
    opened.add(["new", name(7)], matrix[:2] + 10, tags)

    assert client.dbsize() == before + 1
    [key] = set(client.scan_iter()) - keys
    assert key.decode() == opened.schema.prefix + "new"
    assert opened.search(matrix[1:2] + 10, 1)[0].ids == [name(7)]
    assert np.array_equal(opened.fetch(["new"]).vectors, matrix[:1] + 10)
    assert opened.remove(["new", name(7), "other"]) == 2
    assert client.dbsize() == before - 1
    assert opened.ids() == [id for id in names() if id != name(7)]


def test_what_else_a_document_holds_is_kept(client, opened, matrix, layout):
    opened.add([name(7)], matrix[:1], {tag: ["t"] for tag in opened.schema.tags})
    key = layout.key.format(id=name(7), row=7, ab="b")
    if opened.schema.storage == "JSON":
        held = client.json().get(key)
        assert (held["n"], held["more"]) == (7, {"than": ["others", "know"]})
    else:
        assert client.hmget(key, "n", "title") == [b"7", b"title 7"]


@pytest.mark.parametrize("changes", [{"algorithm": "HNSW"}, {"dtype": "float16"}], ids=str)
def test_it_is_rebuilt_with_all_that_it_has(client, opened, matrix, changes):
    before = opened.schema
    count = client.dbsize()
    opened.rebuild(**changes)

    again = VectorIndex.open(
        client, "theirs", vector_field=before.vector_name, id_field=before.id_field
    )
    for setting in ("storage", "prefixes", "key_prefixes", "id_field", "tags", "fields", "options"):
        assert getattr(again.schema, setting) == getattr(before, setting)
    assert again.schema.vector_name == before.vector_name
    assert again.search(matrix[:1], 5)[0].ids == nearest(matrix, matrix[0], 5)
    assert again.ids() == names()
    assert client.dbsize() == count
    assert again.fetch(names()[:1]).vectors == pytest.approx(matrix[:1], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, r"has 2 vector fields \('v', 'w'\); name one with vector_field"),
        ({"vector_field": "x"}, "no vector field 'x'; its vector fields are 'v', 'w'"),
        ({"vector_field": "v", "id_field": "x"}, "nor a document of it has the field 'x'"),
    ],
)
def test_a_field_that_is_not_there_is_told(client, matrix, options, reason):
    definition = f"ON HASH PREFIX 1 f: SCHEMA v {FLAT} w {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    client.hset("f:1", mapping={"v": matrix[0].tobytes()})
    with pytest.raises(IndexMismatchError, match=reason):
        VectorIndex.open(client, "theirs", **options)


def test_documents_with_the_same_id_are_told(client, matrix):
    definition = f"ON HASH PREFIX 2 a: b: SCHEMA v {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    for key in ("a:1", "b:1"):
        client.hset(key, mapping={"v": matrix[0].tobytes()})
    index = VectorIndex.open(client, "theirs")
    for ask in (
        lambda: index.fetch(["1"]),
        index.ids,
        lambda: index.search(matrix[:1], 2),
        lambda: index.remove(["1"]),
        lambda: index.add(["1"], matrix[:1]),
    ):
        with pytest.raises(IndexMismatchError, match="have the id '1'"):
            ask()
    assert client.dbsize() == 2


def test_a_document_without_its_id_is_told(client, matrix):
    definition = f"ON HASH PREFIX 1 f: SCHEMA uid TAG v {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    client.hset("f:1", mapping={"v": matrix[0].tobytes()})
    index = VectorIndex.open(client, "theirs", id_field="uid")
    with pytest.raises(IndexMismatchError, match=r"document 'f:1' .* lacks the id field 'uid'"):
        index.search(matrix[:1], 1)


def test_a_key_that_belongs_to_another_document_is_not_overwritten(client, matrix):
    definition = f"ON HASH PREFIX 1 f: SCHEMA uid TAG v {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    client.hset("f:1", mapping={"uid": "2", "v": matrix[0].tobytes()})
    index = VectorIndex.open(client, "theirs", id_field="uid")
    with pytest.raises(IndexMismatchError, match="already use 1 key of the new documents: 'f:1'"):
        index.add(["1"], matrix[:1])
    assert client.hget("f:1", "uid") == b"2"


@pytest.mark.parametrize("id", ["a,b", " a", "A", "a|b", "{a}", "é", "x y"])
def test_ids_that_a_tag_changes_find_their_document(client, matrix, id):
    definition = f"ON HASH PREFIX 1 f: SCHEMA uid TAG v {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    client.hset("f:x", mapping={"uid": id, "v": matrix[0].tobytes()})
    client.hset("f:y", mapping={"uid": "a", "v": matrix[1].tobytes()})
    index = VectorIndex.open(client, "theirs", id_field="uid")
    assert np.array_equal(index.fetch([id]).vectors, matrix[:1])
    assert index.search(matrix[:1], 2, within=[id])[0].ids == [id]
    assert index.remove([id]) == 1
    assert list(client.scan_iter()) == [b"f:y"]


def test_cursors_are_closed_after_an_answer_that_is_refused(client, matrix):
    definition = f"ON HASH PREFIX 1 f: SCHEMA uid TAG v {FLAT}"
    client.execute_command("FT.CREATE", "theirs", *definition.split())
    pipeline = client.pipeline(transaction=False)
    for row in range(10_001):
        pipeline.hset(
            f"f:{row}", mapping={"v": matrix[0].tobytes(), **({"uid": "1"} if row else {})}
        )
    pipeline.execute()
    index = VectorIndex.open(client, "theirs", id_field="uid")
    with pytest.raises(
        IndexMismatchError, match=r"'f:0' .* lacks the id field 'uid'|have the id '1'"
    ):
        index.ids()
    assert index.info()["cursor_stats"]["index_total"] == 0


def test_an_empty_index_without_a_separator_gets_a_colon(client, matrix):
    client.execute_command("FT.CREATE", "docs", *f"ON HASH PREFIX 1 docs SCHEMA v {FLAT}".split())
    index = VectorIndex.open(client, "docs")
    index.add(["1"], matrix[:1])
    assert list(client.scan_iter()) == [b"docs:1"]
    assert index.ids() == ["1"]


VALUES = [0.1, -1 / 3, 1e-40, 3.4028235e38, 16777217.0, 2**-149, -0.0, 1.00000017881393432617]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@NEEDS_JSON
def test_numbers_of_json_are_exactly_those_that_were_written(client, dtype):
    schema = Schema("j", len(VALUES), "euclidean", dtype=dtype, storage="JSON")
    index = VectorIndex.create(client, schema)
    values = np.clip(VALUES, -6e4, 6e4)
    index.add(["1"], values[np.newaxis])
    plain = VectorIndex.create(client, Schema("h", len(VALUES), metric="euclidean", dtype=dtype))
    plain.add(["1"], values[np.newaxis])
    held = index.fetch(["1"]).vectors
    assert np.array_equal(held, plain.fetch(["1"]).vectors)
    assert index.search(held, 1)[0].distances == 0


@NEEDS_JSON
def test_vectors_of_json_are_read_as_the_server_searches_them(client):
    definition = "ON JSON PREFIX 1 j: SCHEMA $.v AS v VECTOR FLAT 6 TYPE FLOAT32 DIM 2"
    client.execute_command("FT.CREATE", "j", *definition.split(), "DISTANCE_METRIC", "L2")
    client.execute_command("JSON.SET", "j:1", "$", '{"v": [0.1, 12345678901234567890]}')
    index = VectorIndex.open(client, "j")
    assert index.search(index.fetch(["1"]).vectors, 1)[0].distances == 0


def test_an_index_of_ours_can_keep_its_ids_in_a_field(client, matrix):
    schema = Schema("docs", DIM, metric="euclidean", id_field="uid", tags=("sample_id",))
    index = VectorIndex.create(client, schema)
    index.add(names(), matrix, {"sample_id": names()})
    seen = VectorIndex.open(client, "docs", id_field="uid")
    assert seen.schema == schema
    assert client.hget(f"docs:{name(3)}", "uid") == name(3).encode()
    assert seen.search(matrix[:1], 1)[0].tags == {"sample_id": [name(0)]}


@pytest.mark.parametrize("field", ["", 5])
def test_names_of_fields_are_checked(field):
    with pytest.raises(SettingsError, match="name of a field"):
        Schema("docs", DIM, vector_field=field)
