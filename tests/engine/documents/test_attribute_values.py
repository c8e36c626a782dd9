"""Fields of documents that others filter by: made, written, brought up to date, kept, unseen."""

import numpy as np
import pytest

from fiftyone_redis.engine import Attribute, Schema, VectorIndex
from fiftyone_redis.engine.documents import documents
from fiftyone_redis.engine.schema.schema import SEPARATOR
from fiftyone_redis.errors import InputError, ServerError, SettingsError

ATTRIBUTES = (Attribute("tags", "TAG"), Attribute("caption", "TEXT"), Attribute("size", "NUMERIC"))
IDS = ["a", "b", "c"]
VALUES = {
    "a": {"tags": f"red{SEPARATOR}big, round", "caption": "A red ball", "size": "3"},
    "b": {"tags": "blue", "size": "-0.5"},
    "c": {"tags": "RED", "caption": "it runs"},
}


def reader(values: dict[str, dict[str, str]], names=("tags", "caption", "size")):
    """Tells values by id, as those who add documents do."""

    def read(ids):
        return {name: [values.get(id, {}).get(name) for id in ids] for name in names}

    return read


@pytest.fixture
def schema():
    return Schema("docs", 4, tags=("own",), attributes=ATTRIBUTES)


@pytest.fixture
def described(index, vectors):
    """An index of three documents with attributes."""
    index.add(IDS, vectors(3), {"own": IDS}, attributes=reader(VALUES))
    return index


def filtered(index: VectorIndex, query: str) -> list[str]:
    reply = index.client.execute_command(
        "FT.SEARCH", index.schema.name, query, "NOCONTENT", "DIALECT", 2
    )
    return sorted(hit[b"id"].decode()[len(index.schema.prefix) :] for hit in reply[b"results"])


def fields(index: VectorIndex, id: str) -> dict[str, str]:
    held = index.client.hgetall(index.schema.prefix + id)
    return {name.decode(): held[name].decode() for name in held if not name.startswith(b"vector")}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("@tags:{red}", ["a"]),
        ("@tags:{big\\,\\ round}", ["a"]),
        ("@tags:{red|blue}", ["a", "b"]),
        ("@tags:{big}", []),
        ("@caption:ball", ["a"]),
        ("@caption:run", ["c"]),
        ("@size:[-1 3]", ["a", "b"]),
        ("@size:[(-0.5 inf]", ["a"]),
        ("@own:{c} @tags:{RED}", ["c"]),
    ],
)
def test_others_filter_by_attributes(described, query, found):
    assert filtered(described, query) == found


def test_missing_values_are_no_fields(described):
    assert fields(described, "b") == {"own": "b", **VALUES["b"]}


def test_searches_and_reading_do_not_return_attributes(described, vectors):
    [found] = described.search(vectors(1), 3)
    assert found.ids[0] == "a"
    assert set(found.tags) == set(described.fetch().tags) == {"own"}


def test_the_definition_is_read_back(described, client):
    assert VectorIndex.open(client, "docs").schema.attributes == ATTRIBUTES
    assert VectorIndex.open(client, "docs").schema.tags == ("own",)


def test_an_index_without_attributes_has_none(client, tagged):
    assert tagged(2).schema.attributes == ()
    assert VectorIndex.open(client, "tagged").schema.attributes == ()


@pytest.mark.parametrize("changes", [{"algorithm": "HNSW"}, {"dtype": "float16"}])
def test_a_rebuild_keeps_attributes(described, changes):
    described.rebuild(**changes)
    assert described.schema.attributes == ATTRIBUTES
    assert filtered(described, "@tags:{red} @size:[0 5]") == ["a"]
    assert fields(described, "a") == {"own": "a", **VALUES["a"]}


def test_vectors_are_the_same_with_attributes(described, vectors):
    assert np.array_equal(described.fetch(IDS).vectors, vectors(3))


def test_adding_again_removes_what_is_missing_now(described, vectors):
    described.add(IDS, vectors(3), {"own": IDS}, attributes=reader({"a": {"size": "4"}}))
    assert fields(described, "a") == {"own": "a", "size": "4"}
    assert fields(described, "b") == {"own": "b"}


def test_attributes_are_read_a_batch_at_a_time(index, vectors, monkeypatch):
    monkeypatch.setattr(documents, "BATCH_BYTES", 2 * 4 * 4)
    asked = []

    def read(ids):
        asked.append(list(ids))
        return reader(VALUES)(ids)

    index.add(IDS, vectors(3), {"own": IDS}, attributes=read)
    assert asked == [["a", "b"], ["c"]]
    assert fields(index, "c") == {"own": "c", **VALUES["c"]}


def test_nothing_is_read_or_written_when_vectors_are_refused(index, vectors):
    matrix = vectors(3)
    matrix[1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        index.add(IDS, matrix, {"own": IDS}, attributes=lambda ids: pytest.fail("was read"))
    assert len(index) == 0


def test_attributes_are_brought_up_to_date(described, vectors):
    values = {**VALUES, "a": {"tags": "green"}, "b": {**VALUES["b"], "caption": "new"}}
    assert described.update_attributes(IDS, reader(values)) == 2
    assert fields(described, "a") == {"own": "a", "tags": "green"}
    assert fields(described, "b") == {"own": "b", **VALUES["b"], "caption": "new"}
    assert filtered(described, "@tags:{green|red}") == ["a"]
    assert np.array_equal(described.fetch(IDS).vectors, vectors(3))


def test_what_is_up_to_date_is_not_written(described):
    described.client.config_resetstat()
    assert described.update_attributes(IDS, reader(VALUES)) == 0
    assert "cmdstat_hset" not in described.client.info("commandstats")


def test_no_document_is_made_of_attributes_alone(described):
    assert described.update_attributes(["gone", "a"], reader({"gone": {"size": "1"}})) == 1
    assert not described.client.exists("docs:gone")


def test_progress_counts_every_id(described):
    counted = []
    described.update_attributes([*IDS, "gone"], reader(VALUES), counted.append)
    assert sum(counted) == 4


@pytest.mark.parametrize("name", ["own", "vector", "vector_float16", "distance", "a-b", "é", ""])
def test_names_that_queries_cannot_use_are_refused(client, name):
    schema = Schema("docs", 4, tags=("own",), attributes=(Attribute(name, "TAG"),))
    with pytest.raises(SettingsError, match="attribute"):
        VectorIndex.create(client, schema)
    assert not VectorIndex.exists(client, "docs")


def test_two_attributes_of_one_name_are_refused(client):
    twice = (Attribute("a", "TAG"), Attribute("a", "TEXT"))
    with pytest.raises(SettingsError, match="'a'"):
        VectorIndex.create(client, Schema("docs", 4, attributes=twice))


def test_an_unknown_kind_is_refused(client):
    schema = Schema("docs", 4, attributes=(Attribute("a", "GEO"),))
    with pytest.raises(SettingsError, match=r"'GEO'.*TAG, TEXT, NUMERIC"):
        VectorIndex.create(client, schema)


def test_a_full_server_is_an_error(described, full_server):
    with pytest.raises(ServerError, match=r"memory is full.*1 document: 'a'"):
        described.update_attributes(IDS, reader({**VALUES, "a": {"size": "9"}}))


def test_fields_of_indexes_that_others_made_are_told_apart(client):
    vector = ("VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", 4, "DISTANCE_METRIC", "L2")
    client.execute_command(
        *("FT.CREATE", "other", "PREFIX", 1, "o:", "SCHEMA", "vector", *vector),
        *("label", "TAG", "text", "TEXT", "year", "NUMERIC", "SORTABLE", "place", "GEO"),
    )
    schema = VectorIndex.open(client, "other").schema
    assert schema.tags == ("label",)
    assert schema.attributes == (Attribute("text", "TEXT"), Attribute("year", "NUMERIC"))
