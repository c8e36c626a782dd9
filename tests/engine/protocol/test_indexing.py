"""Indexes that the server is still filling: whoever opens, searches or counts them waits."""

import logging
import time

import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.protocol import indexing

COUNT, DIM = 4000, 32
IDS = [f"{row:05}" for row in range(COUNT)]
# A graph takes the server a second or two.
VECTOR = f"VECTOR HNSW 10 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE M 32 EF_CONSTRUCTION 300"


@pytest.fixture
def matrix(vectors):
    return vectors(COUNT, DIM)


@pytest.fixture
def documents(client, matrix):
    """Documents of which no index knows."""
    index = VectorIndex.create(client, Schema("docs", DIM))
    index.add(IDS, matrix)
    index.drop(documents=False)


def make(client) -> None:
    """Makes an index as somebody with redis-cli does, and does not wait for it."""
    definition = f"PREFIX 1 docs: SCHEMA vector {VECTOR}"
    client.execute_command("FT.CREATE", "docs", *definition.split())
    assert is_being_filled(client)


def is_being_filled(client) -> bool:
    return int(client.execute_command("FT.INFO", "docs")[b"indexing"]) == 1


@pytest.mark.usefixtures("documents")
def test_an_index_is_whole_when_it_is_opened(client, matrix):
    make(client)
    index = VectorIndex.open(client, "docs")
    assert not is_being_filled(client)
    assert len(index) == COUNT
    assert index.search(matrix[-1:], 1)[0].ids == IDS[-1:]


@pytest.mark.usefixtures("documents")
def test_a_count_waits_for_an_index_that_others_made_anew(client):
    make(client)
    index = VectorIndex.open(client, "docs")
    client.execute_command("FT.DROPINDEX", "docs")
    make(client)
    assert len(index) == COUNT


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("within", [None, IDS[-5:]], ids=["all", "some"])
def test_a_search_waits_for_an_index_that_others_made_anew(client, matrix, within):
    make(client)
    index = VectorIndex.open(client, "docs")
    client.execute_command("FT.DROPINDEX", "docs")
    make(client)
    found = index.search(matrix[-3:], 1, within=within)
    assert [each.ids for each in found] == [[id] for id in IDS[-3:]]
    assert not is_being_filled(client)


def test_a_search_waits_for_a_server_that_fills_its_indexes_after_a_restart(own_server, matrix):
    server = own_server("--appendonly", "yes")
    with connect(host="127.0.0.1", port=server.port) as client:
        index = VectorIndex.create(client, Schema("docs", DIM, algorithm="HNSW"))
        index.add(IDS, matrix)
        server.kill()
        server.start()
        found = index.search(matrix[-3:], 1)
        assert [each.ids for each in found] == [[id] for id in IDS[-3:]]
        assert len(index) == COUNT


@pytest.mark.usefixtures("documents")
def test_waiting_is_told_with_how_far_the_server_is(client, monkeypatch, caplog):
    monkeypatch.setattr(indexing, "_LOG_AFTER_SECONDS", 0)
    fiftyone_logger = logging.getLogger("fiftyone")
    monkeypatch.setattr(fiftyone_logger, "propagate", True)
    caplog.set_level(logging.INFO)
    make(client)
    VectorIndex.open(client, "docs")
    [line] = [r.getMessage() for r in caplog.records if "still indexing 'docs'" in r.getMessage()]
    assert "%" in line


class SlowlyDescribed:
    """A client whose server takes long for FT.INFO, as it does for a large graph."""

    def __init__(self, client) -> None:
        self.client, self.calls = client, 0

    def execute(self, *command):
        self.calls += 1
        time.sleep(0.05)
        return self.client.execute(*command)


@pytest.mark.usefixtures("documents")
def test_a_server_that_takes_long_to_describe_an_index_is_seldom_asked(client):
    make(client)
    slow, start = SlowlyDescribed(client), time.monotonic()
    indexing.wait_until_indexed(slow, "docs")
    assert 2 <= slow.calls <= 2 + (time.monotonic() - start)  # a second each, not 0.07


def test_nothing_is_waited_for_where_nothing_is_to_be_done(client, monkeypatch):
    def refuse(seconds: float) -> None:
        raise AssertionError("waited")

    VectorIndex.create(client, Schema("docs", DIM)).add(["a"], np.ones((1, DIM)))
    indexing.wait_until_indexed(client, "docs")
    monkeypatch.setattr(
        indexing, "time", type("Clock", (), {"monotonic": time.monotonic, "sleep": refuse})
    )
    assert len(VectorIndex.open(client, "docs")) == 1
