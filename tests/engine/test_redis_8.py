"""What only Redis 8 has: vectors of whole numbers, and SVS-VAMANA.

What the running server does not understand is compared with the documentation of Redis, and with
recordings of servers that do.
"""

import json

import brute_force
import numpy as np
import pytest
from recorded import FOLDER

from fiftyone_redis.connection import capabilities as known
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol import commands, index_info
from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.errors import SettingsError, UnsupportedServerError

RECORDING = FOLDER / "redis-8.6.3-search-8.6.7.json"


@pytest.fixture
def whole(client):
    """Documents of a type that the server cannot search, but holds as any other."""

    def whole(dtype: str, metric: str, values: np.ndarray) -> VectorIndex:
        schema = Schema("whole", values.shape[1], metric, dtype=dtype)
        ids = [str(row) for row in range(len(values))]
        assert sum(Documents(client, schema).write(ids, values, {})) == len(values)
        return VectorIndex(client, schema)

    return whole


# Whole numbers


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 128), ("uint8", 0, 256)])
def test_queries_that_the_type_cannot_hold_are_compared_here(whole, dtype, low, high, metric):
    values = np.random.default_rng(5).integers(low, high, size=(80, 5))
    query = values[:3].mean(axis=0)
    [found] = whole(dtype, metric, values).search(query[np.newaxis], 10)
    true = brute_force.distances(metric, query, values)
    assert [int(id) for id in found.ids] == np.argsort(true)[:10].tolist()
    assert found.distances == pytest.approx(np.sort(true)[:10])


def test_the_opposite_of_a_query_that_the_type_cannot_hold_is_not_asked_for(whole):
    values = np.array([[1, 200], [200, 1], [3, 199]])
    [found] = whole("uint8", "cosine", values).search(values[:1], 1, farthest=True)
    assert found.ids == ["1"]


def test_whole_numbers_are_read_back_as_they_were(whole):
    values = np.array([[-128, 127], [0, 1]])
    read = whole("int8", "euclidean", values).fetch(["0", "1"]).vectors
    assert read.tolist() == values.tolist()


def test_whole_numbers_are_asked_for_as_redis_8_takes_them():
    replies = json.loads(RECORDING.read_text())["replies"]
    [reply] = {r["reply"] for r in replies if r["command"][:2] == ["FT.CREATE", "bad"]}
    [recorded] = [r["command"] for r in replies[:40] if r["command"][:2] == ["FT.CREATE", "bad"]]
    command = commands.create(Schema("any", 4, dtype="int8", vector_field="v"))
    assert reply == "+OK\r\n"
    said = recorded[recorded.index("TYPE") :]
    start = command.index("TYPE")
    assert list(map(str, command[start : start + len(said)])) == said


# SVS-VAMANA: no server that has it can be had here. Redis' documentation has the settings
# (develop/ai/search-and-query/vectors), RediSearch's info_command.c the reply to FT.INFO.


def test_an_svs_index_is_made_with_the_documented_settings_and_defaults():
    command = commands.create(Schema("any", 512, "euclidean", "SVS-VAMANA"))
    assert " ".join(map(str, command)) == (
        "FT.CREATE any ON HASH PREFIX 1 any: FILTER exists(@vector) SCHEMA vector VECTOR "
        "SVS-VAMANA 12 TYPE FLOAT32 "
        "DIM 512 DISTANCE_METRIC L2 GRAPH_MAX_DEGREE 32 CONSTRUCTION_WINDOW_SIZE 200 "
        "SEARCH_WINDOW_SIZE 10"
    )


def test_an_svs_index_is_compressed_if_that_is_asked_for():
    schema = Schema("any", 8, algorithm="SVS-VAMANA", dtype="float16", compression="LVQ4x8")
    command = commands.create(schema)
    start = command.index("SVS-VAMANA")
    assert command[-2:] == ["COMPRESSION", "LVQ4x8"]
    assert len(command[start + 2 :]) == command[start + 1]


@pytest.mark.parametrize(("k", "kept"), [(3, 10), (50, 50)])
def test_an_svs_query_keeps_as_many_candidates_as_it_asks_for(k, kept):
    schema = Schema("any", 2, algorithm="SVS-VAMANA")
    query = commands.knn(schema, b"", k, timeout_ms=1)[2]
    assert query == f"*=>[KNN {k} @vector $query SEARCH_WINDOW_SIZE {kept} AS distance]"


@pytest.mark.parametrize(
    ("told", "compression"),
    [("NO_COMPRESSION", "none"), ("LVQ4x4", "LVQ4x4"), ("GlobalSQ8", "LVQ8"), ("SQ8", "LVQ8")],
)
def test_an_svs_index_is_read_as_it_was_made(told, compression):
    vector = ["identifier", "vector", "attribute", "vector", "type", "VECTOR"]
    vector += ["algorithm", "SVS-VAMANA", "data_type", "FLOAT32", "dim", 8]
    vector += ["distance_metric", "COSINE", "graph_max_degree", 40]
    vector += ["construction_window_size", 250, "compression", told]
    assert index_info.read_schema(index_info.read_info(info_of(vector))) == Schema(
        "any",
        8,
        algorithm="SVS-VAMANA",
        graph_max_degree=40,
        construction_window_size=250,
        compression=compression,
    )


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "int8", "uint8"])
def test_svs_holds_only_what_it_can_compress(dtype):
    with pytest.raises(SettingsError, match="dtype of SVS-VAMANA"):
        Schema("any", 2, algorithm="SVS-VAMANA", dtype=dtype)


def test_a_server_that_was_built_without_svs_has_its_error():
    replies = json.loads(RECORDING.read_text())["replies"]
    [reply] = {r["reply"] for r in replies if "SVS-VAMANA" in r["command"]}
    error = translate(known.redis.ResponseError(reply[1:].strip()), "host:6379")
    assert type(error) is UnsupportedServerError


def info_of(*attributes: list) -> list:
    """Returns a reply to FT.INFO about an index with certain fields."""
    definition = ["key_type", "HASH", "prefixes", ["any:"], "default_score", "1"]
    return ["index_name", "any", "index_definition", definition, "attributes", list(attributes)]
