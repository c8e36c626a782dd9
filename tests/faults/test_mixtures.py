"""Processes that add, overwrite and remove while others rebuild: exactly what was acknowledged."""

import multiprocessing
import random
import time
from contextlib import suppress

import children
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import IndexMismatchError

DIM, COUNT, BATCH = 8, 3000, 150
IDS = [f"{row:05}" for row in range(COUNT)]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

REBUILDS = {
    "type": [{"dtype": "float16"}, {"dtype": "float64"}, {"dtype": "float32"}],
    "metric": [{"metric": "euclidean"}, {"metric": "cosine"}],
    "algorithm": [{"algorithm": "HNSW"}, {"algorithm": "FLAT"}],
    "storage": [{"storage": "HASH"}, {"dtype": "float16"}, {"dtype": "float32"}],
}


def vectors_of(version: int, count: int = COUNT) -> np.ndarray:
    """Returns vectors that every type holds exactly."""
    return np.random.default_rng(version).integers(1, 99, (count, DIM)).astype(np.float32)


def fill(client, storage: str = "HASH") -> VectorIndex:
    if storage == "JSON":
        fields = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"
        own = f"ON JSON PREFIX 1 docs: SCHEMA $.foid AS foid TAG $.vector AS vector {fields}"
        client.execute_command("FT.CREATE", "docs", *own.split())
        index = VectorIndex.open(client, "docs")
    else:
        index = VectorIndex.create(client, Schema("docs", DIM))
    index.add(IDS, vectors_of(0))
    return index


def write(url: str, version: int, answers) -> None:
    """Overwrites two thirds of the vectors and removes the others, in batches and any order."""
    matrix, chance = vectors_of(version), random.Random(version)
    with connect(url) as client:
        index = VectorIndex.open(client, "docs")
        starts = list(range(0, COUNT, BATCH))
        chance.shuffle(starts)
        for number, start in enumerate(starts):
            rows = slice(start, start + BATCH)
            if number % 3:
                index.add(IDS[rows], matrix[rows])
            else:
                index.remove(IDS[rows])
            answers.put((start, number % 3 != 0))
            time.sleep(chance.uniform(0, 0.05))


def check_exact(client, expected: dict[str, np.ndarray]) -> None:
    index = VectorIndex.open(client, "docs")
    found = index.fetch()
    assert set(index.ids()) == set(found.ids) == set(expected)
    assert len(index) == len(expected)
    held = dict(zip(found.ids, found.vectors, strict=True))
    assert [id for id in held if not np.array_equal(held[id], expected[id])] == []
    assert client.execute_command("FT._LIST") == [index.schema.server_name.encode()]
    assert client.dbsize() == len(expected)
    fields = {tuple(client.hkeys(key)) for key in client.scan_iter()}
    assert fields == {(index.schema.vector_field.encode(),)}


@pytest.mark.parametrize("kind", REBUILDS)
def test_what_another_process_writes_while_rebuilds_run_is_there(client, redis_server, kind):
    index = fill(client, "JSON" if kind == "storage" else "HASH")
    expected = dict(zip(IDS, vectors_of(0), strict=True))
    answers = multiprocessing.get_context("fork").Queue()
    rebuilds, changes = 0, REBUILDS[kind]
    with children.forked(write, [(redis_server.url, 1, answers)]) as [child]:
        while child.is_alive():
            index.rebuild(**changes[rebuilds % len(changes)])
            if "storage" in changes[0]:
                changes = changes[1:]  # once
            time.sleep(0.1)
            rebuilds += 1
        assert children.join([child]) == [0]
    assert rebuilds > 2
    for _ in range(0, COUNT, BATCH):
        start, is_there = answers.get()
        rows = slice(start, start + BATCH)
        new = dict(zip(IDS[rows], vectors_of(1)[rows], strict=True))
        for id, vector in new.items():
            expected[id] = vector if is_there else None
    expected = {id: vector for id, vector in expected.items() if vector is not None}
    check_exact(client, expected)


@pytest.mark.parametrize("requests", [18, 25, 29, 33, 36])
def test_vectors_replaced_after_a_killed_rebuild_are_kept_by_the_next(
    client, redis_server, requests
):
    index = fill(client)
    was_killed = children.was_killed(
        redis_server.url, lambda index: index.rebuild(dtype="float16"), requests, expiry=1.5
    )
    index.add(IDS[:2000], vectors_of(5, 2000))
    index.remove(IDS[2500:])
    index.rebuild(dtype="float16")
    old, new = vectors_of(0), vectors_of(5, 2000)
    expected = dict(zip(IDS[:2000], new, strict=True)) | dict(
        zip(IDS[2000:2500], old[2000:2500], strict=True)
    )
    check_exact(client, expected)
    assert was_killed or requests > 25  # how often a rebuild asks depends on the machine


def test_two_processes_that_rebuild_at_once_leave_one_index(client, redis_server):
    fill(client)
    changes = [{"dtype": "float16"}, {"metric": "euclidean"}, {"algorithm": "HNSW"}]
    with children.forked(rebuild, [(redis_server.url, change) for change in changes]) as rebuilding:
        assert children.join(rebuilding) == [0, 0, 0]
    schema = VectorIndex.open(client, "docs").schema
    assert (schema.dtype, schema.metric, schema.algorithm) == ("float16", "euclidean", "HNSW")
    check_exact(client, dict(zip(IDS, vectors_of(0), strict=True)))


def rebuild(url: str, changes: dict[str, str]) -> None:
    with connect(url) as client:
        VectorIndex.open(client, "docs").rebuild(**changes)


def test_processes_that_create_at_once_make_one_index(client, redis_server):
    with children.forked(create, [(redis_server.url,)] * 4) as creating:
        assert sorted(children.join(creating)) == [0, 1, 1, 1]
    assert len(client.execute_command("FT._LIST")) == 1
    VectorIndex.open(client, "docs").drop()
    assert client.keys() == []


def create(url: str) -> None:
    with connect(url) as client, suppress(IndexMismatchError):
        VectorIndex.create(client, Schema("docs", DIM))
        return
    raise SystemExit(1)
