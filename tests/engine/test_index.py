"""The life of an index: made, opened, filled, read and dropped, and what is refused."""

import time

import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
)

# What a server without int8 and SVS-VAMANA can hold, as the running one.
OFFERED = ("float32", "float64", "float16", "bfloat16")
ALGORITHMS = ("FLAT", "HNSW")

VECTOR = "v VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2"


def names(count: int) -> list[str]:
    return [f"{row:05}" for row in range(count)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", OFFERED)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_index_is_opened_as_it_was_made(client, metric, algorithm, dtype):
    graph = {"m": 5, "ef_construction": 50} if algorithm == "HNSW" else {}
    schema = Schema("birds", 3, metric, algorithm, dtype, tags=("x", "y"), **graph)
    assert VectorIndex.create(client, schema).schema == schema
    assert VectorIndex.open(client, "birds").schema == schema


def test_names_of_fields_and_prefix_are_kept(client):
    schema = Schema("birds", 3, prefix="other/", vector_field="embedding")
    VectorIndex.create(client, schema).add(["a"], np.ones((1, 3)))
    index = VectorIndex.open(client, "birds")
    assert index.schema == schema
    assert index.search(np.ones((1, 3)), 1)[0].ids == ["a"]
    assert client.keys() == [b"other/a"]


def test_a_name_that_is_taken_is_refused(client, index, schema):
    with pytest.raises(IndexMismatchError, match="exists already"):
        VectorIndex.create(client, schema)


def test_documents_under_the_prefix_are_part_of_a_new_index_at_once(client, index, vectors):
    index.add(names(5000), vectors(5000))
    index.drop(documents=False)
    assert len(VectorIndex.create(client, index.schema)) == 5000


def test_an_index_exists_until_it_is_dropped(client, index):
    assert VectorIndex.exists(client, "docs")
    index.drop()
    assert not VectorIndex.exists(client, "docs")


def test_a_drop_deletes_the_documents_and_nothing_else(client, index, vectors):
    other = VectorIndex.create(client, Schema("docs2", 4))
    for each in (index, other):
        each.add(names(50), vectors(50))
    client.set("docs", "text")
    client.set("my docs:", "text")

    index.drop()

    assert sorted(other.ids()) == names(50)
    assert len(other) == 50
    assert client.dbsize() == 52


def test_a_drop_can_leave_the_documents(client, index, vectors):
    index.add(names(3), vectors(3))
    index.drop(documents=False)
    assert client.dbsize() == 3


@pytest.mark.parametrize(("first", "second"), [("a", "a:b"), ("a:b", "a")])
def test_an_index_that_would_share_the_documents_of_another_is_refused(client, first, second):
    VectorIndex.create(client, Schema(first, 4))
    with pytest.raises(
        IndexMismatchError, match=f"would share documents with other indexes.*'{first}'"
    ):
        VectorIndex.create(client, Schema(second, 4))
    assert not VectorIndex.exists(client, second)


@pytest.mark.parametrize(
    "use",
    [
        lambda index: VectorIndex.open(index.client, "docs"),
        lambda index: index.info(),
        len,
        lambda index: index.search(np.ones((1, 4)), 1),
        lambda index: index.search(np.ones((1, 4)), 1, within=["a"]),
        lambda index: index.ids_with_tag("tag", ["a"]),
        lambda index: index.drop(),
        lambda index: index.add(["a"], np.ones((1, 4))),
    ],
    ids=["open", "info", "len", "search", "within", "ids_with_tag", "drop", "add"],
)
def test_an_index_that_is_gone_is_missed(client, index, use):
    index.drop()
    with pytest.raises(IndexNotFoundError, match="the index does not exist"):
        use(index)
    assert client.dbsize() == 0


# Indexes that others made


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        pytest.param(
            f"ON JSON PREFIX 1 f: SCHEMA $.v[*] AS {VECTOR}",
            r"'\$.v\[\*\]' .* may hold several vectors",
            marks=pytest.mark.needs("json"),
        ),
        pytest.param(
            f"ON JSON PREFIX 1 f: SCHEMA $..v AS {VECTOR}",
            "may hold several vectors",
            marks=pytest.mark.needs("json"),
        ),
        (f"ON HASH PREFIX 1 f: SCHEMA {VECTOR} w{VECTOR[1:]}", r"2 vector fields \('v', 'w'\)"),
        ("ON HASH PREFIX 1 f: SCHEMA t TEXT SORTABLE n NUMERIC", "has no vector field"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(client, definition, reason):
    client.execute_command("FT.CREATE", "foreign", *definition.split())
    with pytest.raises(IndexMismatchError, match=reason):
        VectorIndex.open(client, "foreign")


def test_an_index_of_others_that_fits_is_used(client):
    definition = f"ON HASH PREFIX 1 f: SCHEMA t TAG SORTABLE UNF n NUMERIC {VECTOR} u TAG"
    client.execute_command("FT.CREATE", "foreign", *definition.split())
    index = VectorIndex.open(client, "foreign")
    index.add(["a", "b"], [[0, 0], [3, 4]], {"t": ["x", "y"], "u": ["z", ""]})
    [found] = index.search([[0, 0]], 2)
    assert (found.ids, found.distances.tolist()) == (["a", "b"], [0, 5])
    assert found.tags == {"t": ["x", "y"], "u": ["z", ""]}


def test_a_document_that_expired_is_not_found(client):
    index = VectorIndex.create(client, Schema("docs", 4, tags=("tag",)))
    for _ in range(10):  # the server may have removed it already when the query comes
        index.add(["a", "b"], np.ones((2, 4)), {"tag": ["x", "y"]})
        client.pexpire("docs:a", 1)
        time.sleep(0.01)
        assert index.search(np.ones((1, 4)), 2)[0].ids == ["b"]


def test_ids_are_found_by_tag_beside_documents_that_expire(client):
    index = VectorIndex.create(client, Schema("docs", 4, tags=("tag",)))
    expiring = [f"{row:04}" for row in range(3000)]
    for _ in range(5):  # the server may have removed them already when the query comes
        index.add(["stays", *expiring], np.ones((3001, 4)), {"tag": ["x"] * 3001})
        pipeline = client.pipeline(transaction=False)
        for id in expiring:
            pipeline.pexpire(f"docs:{id}", 20)
        pipeline.execute()
        time.sleep(0.02)
        assert index.ids_with_tag("tag", ["x"]) == ["stays"]


# What is written, read and removed


def test_what_was_added_is_fetched_in_the_order_of_the_ids(index, vectors):
    matrix = vectors(5)
    index.add(names(5), matrix)
    fetched = index.fetch(["00004", "none", "00000", "00002"])
    assert fetched.ids == ["00004", "00000", "00002"]
    assert np.array_equal(fetched.vectors, matrix[[4, 0, 2]])
    assert len(index) == 5
    assert sorted(index.ids()) == names(5)


def test_tags_are_fetched_and_found_with_their_vectors(client, vectors):
    index = VectorIndex.create(client, Schema("docs", 4, tags=("x", "y")))
    index.add(["a", "b"], vectors(2), {"x": ["1", "2"], "y": ["", "é, z"]})
    index.add(["c"], vectors(1) + 5)
    fetched = index.fetch(["c", "b", "a"])
    assert fetched.tags == {"x": ["", "2", "1"], "y": ["", "é, z", ""]}
    [found] = index.search(vectors(1), 3)
    assert dict(zip(found.ids, found.tags["x"], strict=True)) == {"a": "1", "b": "2", "c": ""}


@pytest.mark.parametrize("ids", [[], ["none"]])
def test_what_is_not_there_is_fetched_as_no_vectors(index, vectors, ids):
    index.add(["a"], vectors(1))
    fetched = index.fetch(ids)
    assert (fetched.ids, fetched.vectors.shape) == ([], (0, 4))


def test_a_second_vector_of_an_id_takes_the_place_of_the_first(index):
    index.add(["a", "b"], [[1, 0, 0, 0], [0, 1, 0, 0]])
    index.add(["a"], [[0, 0, 0, 9]])
    assert len(index) == 2
    assert index.fetch(["a"]).vectors.tolist() == [[0, 0, 0, 9]]
    assert index.search([[1, 0, 0, 0]], 2)[0].ids == ["b", "a"]
    assert index.search([[0, 0, 0, 9]], 1)[0].distances.tolist() == [0]


def test_what_was_removed_is_gone(index, vectors):
    index.add(names(5), vectors(5))
    assert index.remove(["00001", "00003", "none", "00001"]) == 2
    assert index.existing([*names(5), "none"]) == {"00000", "00002", "00004"}
    assert sorted(index.search(vectors(1), 9)[0].ids) == ["00000", "00002", "00004"]
    assert len(index) == 3


def test_progress_counts_the_documents(index, vectors, small_batches):
    counts = []
    index.add(names(25), vectors(25), progress=counts.append)
    assert counts == [10, 10, 5]


def test_no_vectors_can_be_added(client, index):
    index.add([], np.zeros((0, 4)))
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["a", "b", "a", "c", "b"], "2 ids given more than once: 'a', 'b'"),
        (["a", "b", "c", "d"], r"ids \(4\) differs from the number of vectors \(5\)"),
        (["a", "b", "c", "d", "e", "f"], r"ids \(6\) differs"),
        ([], r"ids \(0\) differs"),
        (["a", "", "c", "d", "e"], "An id is empty"),
        (["a", 1, "c", None, b"e"], "ids must be text, not 1, None, b'e'"),
        ([["a"], "b", "c", "d", "e"], "must be text"),
        (["a", "b", "c", "d", "\ud800"], "UTF-8"),
    ],
)
def test_ids_that_cannot_be_ids_are_refused_before_anything_is_written(
    client, index, vectors, small_batches, ids, reason
):
    with pytest.raises(FiftyOneRedisError, match=reason) as caught:
        index.add(ids, vectors(5))
    assert type(caught.value) is InputError
    assert client.dbsize() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_vectors_that_cannot_be_held_are_refused_before_anything_is_written(
    client, index, vectors, small_batches, value
):
    matrix = vectors(5)
    matrix[4, 3] = value
    with pytest.raises(InputError, match=r"Some vectors .* \(1 of 5\): '00004'"):
        index.add(names(5), matrix)
    assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"tag": ["x"]}, r"ids \(2\) differs from the number of values of tag \(1\)"),
        ({"other": ["x", "y"]}, "other"),
        ({"tag": ["x", None]}, "tag"),
    ],
)
def test_tags_that_do_not_fit_are_refused_before_anything_is_written(client, vectors, tags, reason):
    index = VectorIndex.create(client, Schema("docs", 4, tags=("tag",)))
    with pytest.raises(InputError, match=reason):
        index.add(["a", "b"], vectors(2), tags)
    assert client.dbsize() == 0


# Ids by tag


def test_ids_are_listed_by_tag(tagged):
    index = tagged(10)
    assert sorted(index.ids_with_tag("tag", ["odd"])) == names(10)[1::2]
    assert sorted(index.ids_with_tag("tag", ["odd", "even"])) == names(10)
    assert index.ids_with_tag("tag", ["none"]) == []
    assert index.ids_with_tag("tag", []) == []


def test_more_ids_than_a_page_are_listed_by_tag(tagged):
    index = tagged(25_001)
    assert sorted(index.ids_with_tag("tag", ["odd", "even"])) == names(25_001)
    assert index.info()["cursor_stats"]["index_total"] == 0


def test_ids_are_listed_by_more_tags_than_a_query_takes(tagged):
    index = tagged(1203)
    assert sorted(index.ids_with_tag("own", names(1202))) == names(1202)
