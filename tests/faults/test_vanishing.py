"""Documents that are removed, expire or are evicted while they are used: a clean answer."""

import logging
import threading
from contextlib import suppress

import numpy as np
import pytest
from waiting import repeat_meanwhile

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import InputError, ServerError

DIM, COUNT = 4, 3000
IDS = [f"{row:05}" for row in range(COUNT)]


@pytest.fixture
def tagged_index(client, vectors):
    index = VectorIndex.create(client, Schema("docs", DIM, tags=("tag",), metric="euclidean"))
    index.add(IDS, vectors(COUNT), {"tag": ["old"] * COUNT})
    return index


def test_updating_attributes_beside_removals_makes_no_documents(client, redis_server, tagged_index):
    def remove() -> None:
        with connect(redis_server.url) as own:
            index = VectorIndex.open(own, "docs")
            for start in range(0, COUNT, 100):
                index.remove(IDS[start : start + 100])

    removing = threading.Thread(target=remove)
    removing.start()
    for round_ in range(4):
        value = [f"new {round_}"]
        tagged_index.update_attributes(IDS, lambda ids, value=value: {"tag": value * len(ids)})
    removing.join()
    assert (tagged_index.ids(), client.dbsize()) == ([], 0)


def test_documents_that_expire_while_they_are_read_are_a_clean_answer(
    client, tagged_index, vectors
):
    for row, id in enumerate(IDS):
        client.pexpire(f"docs:{id}", 100 + row // 3)
    held = dict(zip(IDS, vectors(COUNT), strict=True))
    while len(tagged_index):
        found = tagged_index.fetch()
        assert all(
            np.array_equal(v, held[i]) for i, v in zip(found.ids, found.vectors, strict=True)
        )
        assert set(tagged_index.ids()) <= set(found.ids)
        [hits] = tagged_index.search(vectors(1), 50)
        assert len(hits.ids) == len(set(hits.ids)) == len(hits.distances)
        assert set(hits.tags["tag"]) <= {"old"}
        tagged_index.search(vectors(1), 5, within=IDS[:500])
        tagged_index.search(vectors(1), 5, farthest=True)
        with suppress(InputError):
            tagged_index.search_ids(IDS[-2:], 3)
    assert tagged_index.ids() == []
    assert tagged_index.search(vectors(1), 5)[0].ids == []


def test_searches_go_on_while_documents_are_removed(redis_server, tagged_index, vectors):
    with connect(redis_server.url) as own:
        other = VectorIndex.open(own, "docs")
        query = vectors(1)
        with repeat_meanwhile(lambda: other.search(query, 10)[0]) as answers:
            for start in range(0, COUNT - 100, 100):
                tagged_index.remove(IDS[start : start + 100])
        assert answers
        assert all(len(each.ids) == 10 for each in answers)
        assert all(np.isfinite(each.distances).all() for each in answers)


@pytest.fixture
def small_server(own_server):
    """A server that evicts what it has no room for."""
    server = own_server("--maxmemory", "12mb", "--maxmemory-policy", "allkeys-lru")
    with connect(f"redis://127.0.0.1:{server.port}") as client:
        yield client


def test_a_server_that_evicts_is_warned_of_before_the_first_write(small_server, vectors, caplog):
    index = VectorIndex.create(small_server, Schema("docs", DIM))
    with caplog.at_level(logging.WARNING, "fiftyone"):
        seen = []
        index.add(["a"], vectors(1), progress=lambda _: seen.extend(caplog.messages))
    assert "evicts any key once its memory is full (allkeys-lru)" in seen[0]
    assert index.ids() == ["a"]


def test_what_is_evicted_is_not_reported_as_added(small_server):
    index = VectorIndex.create(small_server, Schema("docs", 256))
    ids = [f"{row}" for row in range(20_000)]
    with pytest.raises(ServerError, match=r"evicted \d+ of 20000 vectors .*noeviction"):
        index.add(ids, np.ones((20_000, 256), np.float32))
    found = index.fetch()
    assert len(found.ids) < 20_000
    assert (found.vectors == 1).all()


def test_a_server_that_evicts_what_expires_only_is_not_warned_of(own_server, vectors, caplog):
    server = own_server("--maxmemory", "50mb", "--maxmemory-policy", "volatile-lru")
    with connect(f"redis://127.0.0.1:{server.port}") as client:
        VectorIndex.create(client, Schema("docs", DIM)).add(["a"], vectors(1))
    assert "evict" not in caplog.text
