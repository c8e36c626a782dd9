"""Many searches of a graph at once: all answered in order, over the connections there are."""

import threading

import numpy as np
import pytest

from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.lifecycle import definition
from fiftyone_redis.engine.search import many_searches
from fiftyone_redis.errors import IndexNotFoundError, InputError

COUNT = 500


@pytest.fixture
def graph(filled, vectors):
    return filled(vectors(COUNT, 8), algorithm="HNSW")


def test_every_query_gets_its_own_answer(graph, vectors):
    ids = graph.ids()
    assert [each.ids for each in graph.search_ids(ids, 1)] == [[id] for id in ids]
    assert [each.ids for each in graph.search(vectors(COUNT, 8), 1)] == [[id] for id in ids]


def test_one_connection_is_enough(graph, redis_server):
    lone = Server(port=redis_server.port, protocol=3, max_connections=1)
    with lone:
        index = VectorIndex.open(lone, "filled")
        assert len(index.search_ids(graph.ids(), 3)) == COUNT


def test_what_is_wrong_is_told_of_all_queries(graph, vectors):
    with pytest.raises(InputError, match="2 IDs"):
        graph.search_ids([*graph.ids(), "one", "two"], 1)
    queries = vectors(COUNT, 8)
    queries[[3, 400]] = np.nan
    with pytest.raises(InputError, match=r"\(2 of 500\)"):
        graph.search(queries, 1)


def test_candidates_are_those_that_were_set_or_else_those_of_many_searches():
    schema = Schema("docs", 8, algorithm="HNSW")
    assert many_searches.choose_candidates(schema, 100).ef_runtime == 100
    for own in (10, 1000):
        chosen = Schema("docs", 8, algorithm="HNSW", ef_runtime=own)
        assert many_searches.choose_candidates(chosen, 100) == chosen


def test_a_rebuild_meanwhile_is_followed(graph, client):
    handle = VectorIndex.open(client, "filled")
    graph.rebuild(metric="euclidean")
    assert len(handle.search_ids(graph.ids(), 2)) == COUNT


@pytest.fixture
def large(monkeypatch):
    """Has graphs of 100 documents taken for large ones, which are confirmed every few seconds."""
    monkeypatch.setattr(definition, "_LARGE", 100)
    monkeypatch.setattr(definition, "_TRUST", 0.1)


def count_descriptions(client, index):
    before = count_calls(client)
    for id in index.ids()[:50]:
        index.search_ids([id], 1)
    return count_calls(client) - before


def count_calls(client):
    return client.info("commandstats").get("cmdstat_FT.INFO", {"calls": 0})["calls"]


def test_a_large_graph_is_described_with_few_of_its_searches(large, graph, client):
    assert count_descriptions(client, graph) < 10


def test_a_small_graph_and_brute_force_are_described_with_every_search(graph, client):
    assert count_descriptions(client, graph) >= 50


def test_a_large_graph_is_described_again_after_a_lost_connection(large, graph, client):
    id = graph.ids()[0]
    before = count_calls(client)
    for _ in range(5):
        graph.search_ids([id], 1)
        client.connection_pool.disconnect()
    assert count_calls(client) - before >= 4  # all but the first


def test_a_large_graph_without_an_alias_is_described_with_every_search(large, client):
    fields = "SCHEMA vector VECTOR HNSW 6 TYPE FLOAT32 DIM 8 DISTANCE_METRIC COSINE"
    client.execute_command("FT.CREATE", "bare", *f"ON HASH PREFIX 1 bare: {fields}".split())
    index = VectorIndex.open(client, "bare")
    index.add([f"{row}" for row in range(200)], np.random.default_rng(0).normal(size=(200, 8)))
    assert count_descriptions(client, index) >= 50


def test_a_large_graph_that_is_rebuilt_or_dropped_is_noticed_by_the_next_search(
    large, graph, client
):
    handle, id = VectorIndex.open(client, "filled"), graph.ids()[0]
    by_cosine = handle.search_ids([id], 2)[0]
    graph.rebuild(metric="euclidean")
    assert handle.search_ids([id], 2)[0].distances[1] > by_cosine.distances[1] + 0.1
    graph.drop()
    with pytest.raises(IndexNotFoundError):
        handle.search([[1.0] * 8], 2)


def test_an_error_ends_what_is_under_way_and_begins_nothing_more(client):
    begun = []

    def work(part):
        begun.append(part)
        if part == 3:
            raise InputError("no")
        return part

    found = many_searches.run_in_flight(client, work, range(100))
    with pytest.raises(InputError, match="no"):
        list(found)
    assert len(begun) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("fiftyone-redis-search")]


def test_brute_force_takes_all_queries_at_once():
    assert not many_searches.are_many(Schema("docs", 8), COUNT)
    assert many_searches.are_many(Schema("docs", 8, algorithm="HNSW"), COUNT)
    assert not many_searches.are_many(Schema("docs", 8, algorithm="HNSW"), many_searches.BATCH)
