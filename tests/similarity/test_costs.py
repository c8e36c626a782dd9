"""What FiftyOne's calls cost: connections, questions about the index, functions on the way."""

import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

import fiftyone_redis
from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.connection import parameters
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.protocol import indexing
from fiftyone_redis.errors import IndexMismatchError, InputError

OURS = str(Path(fiftyone_redis.__file__).parent)
VECTORS = np.random.default_rng(51).normal(size=(100, 16)).astype(np.float32)


@pytest.fixture
def hundred(redis_backend):
    """A dataset of 100 samples."""
    dataset = fo.Dataset(f"hundred-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(fo.Sample(filepath=f"{row}.png") for row in range(100))
    yield dataset
    dataset.delete()


@dataclass
class Cost:
    """What a call cost.

    Args:
        connections: how many connections the server accepted
        descriptions: how often it was asked for FT.INFO; not again because it was still indexing
        checks: how often settings were checked
        ways: for each request to the server its first bytes, and our functions that were running
    """

    connections: int = 0
    descriptions: int = 0
    checks: int = 0
    ways: list[tuple[bytes, list[str]]] = field(default_factory=list)


@pytest.fixture
def cost(client):
    """Tells what a call costs. Functions count that wait for the request to be sent."""

    def cost(call: Callable[[], Any]) -> Cost:
        found = Cost()

        def watch(frame: FrameType, event: str, called: Any) -> None:
            if called is time.sleep and frame.f_code is indexing.wait_until_indexed.__code__:
                found.descriptions -= 1
            if event != "call":
                return
            found.checks += frame.f_code is parameters.check_parameters.__code__
            if frame.f_code.co_name == "send_packed_command":
                found.ways.append((frame.f_locals["command"][0], our_functions(frame)))

        client.config_resetstat()
        sys.setprofile(watch)
        try:
            call()
        finally:
            sys.setprofile(None)
        found.connections = client.info("stats")["total_connections_received"]
        asked = client.info("commandstats").get("cmdstat_FT.INFO", {"calls": 0})
        found.descriptions += asked["calls"]
        return found

    return cost


def our_functions(frame: FrameType | None) -> list[str]:
    """Returns the names of our functions on the stack, outermost first."""
    codes: list[CodeType] = []
    while frame is not None:
        codes.insert(0, frame.f_code)
        frame = frame.f_back
    return [code.co_name for code in codes if code.co_filename.startswith(OURS)]


def compute(dataset: fo.Dataset, **settings) -> Any:
    settings = {"embeddings": VECTORS, "brain_key": "key", **settings}
    return fob.compute_similarity(dataset, backend="redis", **settings)


@pytest.mark.parametrize("settings", [{}, {"index_name": "mine"}, {"algorithm": "HNSW"}])
def test_a_run_connects_once_and_asks_twice_about_its_index(hundred, cost, settings):
    found = cost(lambda: compute(hundred, **settings))
    assert found.connections == 1
    assert found.descriptions <= 2
    assert found.checks == 1
    assert hundred.load_brain_results("key").total_index_size == 100


def test_a_run_is_loaded_with_one_connection_and_one_question(hundred, cost):
    compute(hundred)
    hundred.clear_cache()
    found = cost(lambda: hundred.load_brain_results("key"))
    assert (found.connections, found.descriptions) == (1, 1)


def test_a_search_passes_few_functions_on_its_way_to_the_server(hundred, cost):
    compute(hundred)
    query = hundred.first().id
    hundred.sort_by_similarity(query, k=5, brain_key="key")
    found = cost(lambda: hundred.sort_by_similarity(query, k=5, brain_key="key"))
    assert found.connections == 0
    [way] = [functions for request, functions in found.ways if b"FT.SEARCH" in request]
    assert way[0] == "sort_by_similarity"
    assert len(way) <= 6
    assert max(len(functions) for _, functions in found.ways) <= 7  # to read the vector


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, ValueError),  # the key is taken
        ({"brain_key": "other", "embeddings": np.ones((100, 40_000))}, InputError),
        ({"brain_key": "other", "index_name": "used", "metric": "euclidean"}, IndexMismatchError),
    ],
    ids=["key", "embeddings", "index"],
)
def test_a_run_that_fails_closes_its_connection(hundred, client, settings, error):
    index = compute(hundred, index_name="used")
    before = open_connections(client)
    with pytest.raises(error) as failed:
        compute(hundred, **settings)
    deadline = time.monotonic() + 10
    while open_connections(client) > before:
        assert time.monotonic() < deadline, f"{failed.type} left a connection open."
        time.sleep(0.01)
    assert index.total_index_size == 100


def test_a_client_is_not_saved(hundred):
    index = compute(hundred)
    saved = [hundred._doc.brain_methods["key"].config, index.serialize(), index.config.serialize()]
    assert "client" not in str(saved)


@pytest.fixture
def begun(hundred, redis_server):
    """Begins runs as `compute_similarity()` does before embeddings are computed."""

    def begun(**settings):
        backend = RedisSimilarityConfig(url=redis_server.url, **settings).build()
        backend.ensure_requirements()
        backend.register_run(hundred, "key")
        return backend.initialize(hundred, "key")

    return begun


def made_by_others(client, name: str) -> VectorIndex:
    """Makes an index of one document."""
    index = VectorIndex.create(client, Schema(name, 16))
    index.add(["0" * 24], np.ones((1, 16)))
    return index


@pytest.mark.parametrize("rest", ["", ":more"])
def test_a_name_that_others_took_since_the_run_began_is_not_shared(begun, hundred, client, rest):
    run = begun()
    others = made_by_others(client, run.config.index_name + rest)
    run.add_to_index(VECTORS, hundred.values("id"))
    assert (run.total_index_size, len(others)) == (100, 1)
    assert hundred.get_brain_info("key").config.index_name == run.config.index_name


@pytest.mark.parametrize(("rest", "reason"), [("", "exists already"), (":more", "would share")])
def test_a_chosen_name_that_others_took_since_the_run_began_is_refused(
    begun, hundred, client, rest, reason
):
    run = begun(index_name="chosen")
    others = made_by_others(client, f"chosen{rest}")
    with pytest.raises(IndexMismatchError, match=reason):
        run.add_to_index(VECTORS, hundred.values("id"))
    assert not hundred.list_brain_runs()
    assert len(others) == 1


def open_connections(client) -> int:
    return client.info("clients")["connected_clients"]
