"""What is asked of servers that can do less, or more, than the running one.

All ways to restrict a search are forced on the running server and compared with brute force. What
only other servers understand is compared with their documentation, or with recordings where these
hold it: none of these servers can be had here.
"""

import json
from dataclasses import replace
from pathlib import Path

import brute_force
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex, documents, planner, protocol, replies
from fiftyone_redis.engine import capabilities as known
from fiftyone_redis.engine.capabilities import capabilities
from fiftyone_redis.engine.errors import (
    IndexMismatchError,
    SettingsError,
    UnsupportedServerError,
    translated,
)
from fiftyone_redis.engine.schema import METRICS

RECORDING = Path(__file__).parent / "recordings" / "redis-8.6.3-search-8.6.7.json"
COUNT, DIM = 300, 6
IDS = [f"{row:024x}" for row in range(COUNT)]


@pytest.fixture
def knowing(client):
    """Has the client believe that its server can do other things than it can."""

    def knowing(**changes) -> None:
        known._known[client] = replace(capabilities(client), **changes)

    return knowing


@pytest.fixture
def valkey(knowing):
    """Has the client ask for no more than Valkey's search documents."""
    knowing(
        redisearch=False, filters_by_key=False, dtypes=("float32",), algorithms=("FLAT", "HNSW")
    )


@pytest.fixture
def matrix():
    return np.random.default_rng(51).normal(size=(COUNT, DIM)).astype(np.float32)


@pytest.fixture
def made(client, matrix):
    """Makes indexes of documents with a tag that holds their ids."""

    def made(**settings) -> VectorIndex:
        index = VectorIndex.create(client, Schema("made", DIM, tags=("own",), **settings))
        index.add(IDS, matrix, {"own": IDS})
        return index

    return made


@pytest.fixture
def whole(client):
    """Documents of a type that the server cannot search, but holds as any other."""

    def whole(dtype: str, metric: str, values: np.ndarray) -> VectorIndex:
        schema = Schema("whole", values.shape[1], metric, dtype=dtype)
        ids = [str(row) for row in range(len(values))]
        assert sum(documents.write(client, schema, ids, values, {})) == len(values)
        return VectorIndex(client, schema)

    return whole


# Every way to choose among some of the ids

WAYS = {
    "by key": {"by_key": True, "tagged": False, "filtered": True},
    "by tag": {"by_key": False, "tagged": True, "filtered": True},
    "here": {"by_key": False, "tagged": False, "filtered": True},
    "wider": {"by_key": False, "tagged": False, "filtered": False},
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("farthest", [False, True])
@pytest.mark.parametrize("count", [3, 90, 290])
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_find_what_brute_force_finds(
    made, knowing, matrix, monkeypatch, way, count, farthest, metric
):
    setting = WAYS[way]
    index = made(metric=metric, id_field="own" if setting["tagged"] else None)
    knowing(filters_by_key=setting["by_key"])
    monkeypatch.setattr(planner, "filter_is_cheaper", lambda *_: setting["filtered"])
    allowed = np.random.default_rng(7).permutation(COUNT)[:count]

    found = index.search(matrix[:2], 10, within=[IDS[row] for row in allowed], farthest=farthest)

    for query, neighbors in zip(matrix[:2], found, strict=True):
        true = brute_force.distances(metric, query, matrix[allowed])
        order = np.argsort(-true if farthest else true)[:10]
        assert neighbors.ids == [IDS[row] for row in allowed[order]]
        assert neighbors.distances == pytest.approx(true[order], abs=1e-5)
        assert neighbors.tags["own"] == neighbors.ids


@pytest.mark.parametrize(
    ("way", "command"), [("by key", "INKEYS"), ("by tag", "@own:{"), ("here", ""), ("wider", "*=>")]
)
def test_each_way_asks_the_server_for_what_it_is_called(
    made, knowing, client, matrix, monkeypatch, way, command
):
    setting = WAYS[way]
    index = made(id_field="own" if setting["tagged"] else None)
    knowing(filters_by_key=setting["by_key"])
    monkeypatch.setattr(planner, "filter_is_cheaper", lambda *_: setting["filtered"])
    searches = searched(client, lambda: index.search(matrix[:1], 5, within=IDS[:20]))
    assert [command in search for search in searches] == ([True] if command else [])


@pytest.mark.parametrize("odd", ["A", "a,b", "x,a", " a"])
def test_ids_that_tags_do_not_tell_apart_are_compared_here(client, odd):
    """Tags as others make them: split at commas, without a difference of case."""
    vector = "vector VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2"
    definition = f"FT.CREATE odd PREFIX 1 odd: SCHEMA own TAG {vector}"
    client.execute_command(*definition.split())
    index = VectorIndex(client, replace(VectorIndex.open(client, "odd").schema, id_field="own"))
    index.add(["a", odd], [[1.0, 1.0], [0.0, 0.0]], {"own": ["a", odd]})
    assert index.search([[0.0, 0.0]], 1, within=["a"])[0].ids == ["a"]
    assert index.search([[0.0, 0.0]], 1, within=[odd])[0].ids == [odd]


def test_comparing_few_documents_here_is_cheaper_than_a_wide_search():
    schema = Schema("any", 512)
    dear = {"schema": schema, "size": 1_000_000, "width": 5_000, "learning": planner.Learning()}
    assert planner.filter_is_cheaper(**dear, allowed=100, way=planner.HERE)
    assert not planner.filter_is_cheaper(**dear, allowed=900_000, way=planner.HERE)


def test_a_filter_by_key_is_cheaper_than_one_by_tag():
    schema = Schema("any", 512)
    given = {"schema": schema, "size": 50_000, "width": 200, "learning": planner.Learning()}
    allowed = range(100, 10_000, 100)
    keys, tags = (
        [planner.filter_is_cheaper(**given, allowed=n, way=way) for n in allowed]
        for way in (planner.KEYS, planner.TAGS)
    )
    assert sum(keys) > sum(tags) > 0


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
    command = protocol.create(Schema("any", 4, dtype="int8", vector_field="v"), plain=True)
    assert reply == "+OK\r\n"
    assert " ".join(recorded[4:]) == " ".join(map(str, command[7:]))


# SVS-VAMANA: no server that has it can be had here. Redis' documentation has the settings
# (develop/ai/search-and-query/vectors), RediSearch's info_command.c the reply to FT.INFO.


def test_an_svs_index_is_made_with_the_documented_settings_and_defaults():
    command = protocol.create(Schema("any", 512, "euclidean", "SVS-VAMANA"))
    assert " ".join(map(str, command)) == (
        "FT.CREATE any ON HASH PREFIX 1 any: SCHEMA vector VECTOR SVS-VAMANA 12 TYPE FLOAT32 "
        "DIM 512 DISTANCE_METRIC L2 GRAPH_MAX_DEGREE 32 CONSTRUCTION_WINDOW_SIZE 200 "
        "SEARCH_WINDOW_SIZE 10"
    )


def test_an_svs_index_is_compressed_if_that_is_asked_for():
    schema = Schema("any", 8, algorithm="SVS-VAMANA", dtype="float16", compression="LVQ4x8")
    command = protocol.create(schema)
    start = command.index("SVS-VAMANA")
    assert command[-2:] == ["COMPRESSION", "LVQ4x8"]
    assert len(command[start + 2 :]) == command[start + 1]


@pytest.mark.parametrize(("k", "kept"), [(3, 10), (50, 50)])
def test_an_svs_query_keeps_as_many_candidates_as_it_asks_for(k, kept):
    schema = Schema("any", 2, algorithm="SVS-VAMANA")
    query = protocol.knn(schema, b"", k, timeout_ms=1)[2]
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
    assert replies.read_schema(replies.read_info(info_of(vector))) == Schema(
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
    error = translated(known.redis.ResponseError(reply[1:].strip()), "host:6379")
    assert type(error) is UnsupportedServerError


# Valkey's search: no server that has it can be had here. https://valkey.io/commands/#search


def test_valkey_is_asked_for_an_index_of_documented_settings_only():
    flat = protocol.create(Schema("any", 4, tags=("sample_id",)), plain=True)
    graph = protocol.create(Schema("any", 4, algorithm="HNSW", ef_runtime=9000), plain=True)
    head = "FT.CREATE any ON HASH PREFIX 1 any: SCHEMA vector VECTOR"
    assert " ".join(map(str, flat)) == (
        f"{head} FLAT 6 TYPE FLOAT32 DIM 4 DISTANCE_METRIC COSINE sample_id TAG CASESENSITIVE"
    )
    assert " ".join(map(str, graph)) == (
        f"{head} HNSW 12 TYPE FLOAT32 DIM 4 DISTANCE_METRIC COSINE M 32 EF_CONSTRUCTION 200 "
        "EF_RUNTIME 4096"
    )


def test_valkey_is_asked_for_neighbours_in_its_own_words():
    schema = Schema("any", 4, algorithm="HNSW", tags=("own",), id_field="own")
    for ids, allowed in ((None, "*"), (["a", "b"], "(@own:{a|b})")):
        command = protocol.knn(
            schema, b"blob", 5, tags=["own"], ids=ids, plain=True, timeout_ms=3000
        )
        query = f"{allowed}=>[KNN 5 @vector $query EF_RUNTIME 400 AS distance]"
        rest = "RETURN 2 distance own LIMIT 0 5 TIMEOUT 3000 PARAMS 2 query"
        assert command == ["FT.SEARCH", "any", query, *typed(rest), b"blob", "DIALECT", 2]


def test_an_index_of_valkey_is_read():
    graph = ["name", "HNSW", "m", 12, "ef_construction", 90, "ef_runtime", 10]
    vector = ["capacity", 10240, "dimensions", 8, "distance_metric", "IP", "size", 3]
    vector += ["data_type", "FLOAT32", "algorithm", graph]
    attribute = ["identifier", "vector", "attribute", "vector", "user_indexed_memory", 9]
    attribute += ["type", "VECTOR", "index", vector]
    tag = ["identifier", "own", "attribute", "own", "user_indexed_memory", 9, "type", "TAG"]
    tag += ["SEPARATOR", ",", "CASESENSITIVE", 1, "size", 3]
    reply = [*info_of(attribute, tag), "num_docs", 3, "backfill_in_progress", "1"]
    info = replies.read_info(reply)
    # What of its fields FT.CREATE would not take matters to a rebuild, which it cannot do.
    found = replace(replies.read_schema(info), fields=(), lost=())
    assert found == Schema("any", 8, "dotproduct", "HNSW", tags=("own",), m=12, ef_construction=90)
    assert (int(info["num_docs"]), int(info["indexing"])) == (3, 1)


@pytest.mark.usefixtures("valkey")
def test_an_index_lives_and_dies_by_what_valkey_knows(client, made, matrix):
    client.hset("elsewhere", "own", "b")
    index = made(metric="euclidean", algorithm="HNSW")
    assert index.search(matrix[:1], 1)[0].ids == [IDS[0]]
    assert index.search(matrix[:1], 1, within=IDS[5:9])[0].ids[0] in IDS[5:9]
    assert sorted(index.ids_with_tag("own", [IDS[3], IDS[1], "none"])) == [IDS[1], IDS[3]]
    assert index.remove(IDS[:10]) == 10
    assert len(VectorIndex.open(client, "made")) == COUNT - 10
    index.drop()
    assert client.keys() == [b"elsewhere"]


@pytest.mark.usefixtures("valkey")
def test_commands_that_valkey_has_not_are_never_sent(client, made, matrix):
    def live() -> None:
        index = made()
        index.search(matrix, 3, within=IDS[:50])
        index.ids_with_tag("own", IDS[:3])
        index.fetch()
        index.drop()

    client.execute_command("CONFIG", "RESETSTAT")
    live()
    used = {name for name in client.info("commandstats") if name.startswith("cmdstat_FT")}
    names = {"FT.CREATE", "FT.SEARCH", "FT.INFO", "FT._LIST", "FT.DROPINDEX"}
    assert used == {f"cmdstat_{name}" for name in names}


@pytest.mark.usefixtures("valkey")
def test_a_rebuild_is_refused_where_no_index_can_take_the_place_of_another(made):
    index = made()
    with pytest.raises(UnsupportedServerError, match="nothing can be rebuilt on it"):
        index.rebuild(algorithm="HNSW")
    assert index.search(np.ones((1, DIM)), 1)[0].ids


@pytest.mark.usefixtures("valkey")
def test_a_prefix_that_overlaps_is_refused_there_too(client, made):
    made()
    with pytest.raises(IndexMismatchError, match="share documents"):
        VectorIndex.create(client, Schema("made:2", 2))


def searched(client, ask) -> list[str]:
    """Returns the queries that the server is asked while something is done, as text."""
    with client.monitor() as monitor:
        ask()
        client.echo("end")
        commands = []
        for command in monitor.listen():
            if command["command"].startswith("ECHO"):
                return [text for text in commands if text.startswith("FT.SEARCH")]
            commands.append(command["command"])
    return []


def typed(words: str) -> list[str | int]:
    return [int(word) if word.isdecimal() else word for word in words.split()]


def info_of(*attributes: list) -> list:
    """Returns a reply to FT.INFO about an index with certain fields."""
    definition = ["key_type", "HASH", "prefixes", ["any:"], "default_score", "1"]
    return ["index_name", "any", "index_definition", definition, "attributes", list(attributes)]
