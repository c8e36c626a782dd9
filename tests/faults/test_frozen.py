"""A process that is frozen until its lease has expired, and then goes on.

Each child freezes itself before one of its requests, the first, the second, and so on. Others use
the index meanwhile. What they were told has been done is still so when the child has ended.
"""

import signal
import time
from contextlib import suppress

import children
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import IndexNotFoundError

COUNT, DIM = 60, 4
IDS = [f"{row:05}" for row in range(COUNT)]
ADDED = [f"added-{row:02}" for row in range(20)]
FIELDS = f"vector VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"

# Python 3.12 warns of forks in a process with threads, which pytest's may have.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 99, (count, DIM)).astype(np.float32)


Vectors = dict[str, np.ndarray]


def name(ids: list[str], vectors: np.ndarray) -> Vectors:
    return dict(zip(ids, vectors, strict=True))


OLD, NEW, MORE = rows(COUNT, 1), rows(COUNT, 2), rows(20, 3)


def make(client, storage: str) -> None:
    if storage == "HASH":
        index = VectorIndex.create(client, Schema("docs", DIM))
    else:
        own = f"ON JSON PREFIX 1 docs: SCHEMA $.foid AS foid TAG $.vector AS {FIELDS}"
        client.execute_command("FT.CREATE", "docs", *own.split())
        index = VectorIndex.open(client, "docs")
    index.add(IDS, OLD)


def empty(client) -> None:
    for name in client.execute_command("FT._LIST"):
        client.execute_command("FT.DROPINDEX", name)
    client.flushall()


def rebuild_type(index):
    index.rebuild(dtype="float16")


def rebuild_algorithm(index):
    index.rebuild(algorithm="HNSW")


def rebuild_storage(index):
    index.rebuild(storage="HASH")


def drop(index):
    index.drop()


def add(index):
    index.add(ADDED, MORE)


def remove(index):
    index.remove(IDS[:10])


def open_again(client) -> VectorIndex:
    """Opens the index, or makes and fills it anew if the child has dropped it."""
    try:
        return VectorIndex.open(client, "docs")
    except IndexNotFoundError:
        index = VectorIndex.create(client, Schema("docs", DIM))
        index.add(IDS, OLD)
        return index


def write(client) -> Vectors:
    index = open_again(client)
    index.add(IDS[20:], NEW[20:])
    index.remove(IDS[10:15])
    expected = name(IDS, OLD) | name(IDS[20:], NEW[20:])
    return {id: vector for id, vector in expected.items() if id not in IDS[10:15]}


def rebuild_and_write(client) -> Vectors:
    index = open_again(client)
    index.rebuild(
        **{"HASH": {"dtype": "float64"}, "JSON": {"storage": "HASH"}}[index.schema.storage]
    )
    return write(client)


def write_and_rebuild(client) -> Vectors:
    expected = write(client)
    VectorIndex.open(client, "docs").rebuild(metric="euclidean")
    return expected


def make_again(client) -> Vectors:
    with suppress(IndexNotFoundError):
        VectorIndex.open(client, "docs").drop()
    VectorIndex.create(client, Schema("docs", DIM)).add(IDS, NEW)
    return name(IDS, NEW)


def check_exact(client, expected: Vectors) -> None:
    index = VectorIndex.open(client, "docs")
    found = index.fetch()
    assert set(found.ids) == set(expected) == set(index.ids())
    assert len(index) == len(expected)
    held = name(found.ids, found.vectors)
    assert [id for id in held if not np.array_equal(held[id], expected[id])] == []
    id = found.ids[3]
    assert index.search(expected[id][None], 1, within=[id])[0].ids == [id]


def check_nothing_else(client, expected: Vectors) -> None:
    """Makes sure that the next rebuild leaves one index, its documents, and nothing else."""
    index = VectorIndex.open(client, "docs")
    index.rebuild(
        **{"HASH": {"metric": "euclidean"}, "JSON": {"storage": "HASH"}}[index.schema.storage]
    )
    check_exact(client, expected)
    assert client.execute_command("FT._LIST") == [index.schema.server_name.encode()]
    held = {key: client.hkeys(key) for key in client.scan_iter()}
    assert len(held) == len(expected)
    assert {tuple(fields) for fields in held.values()} == {(index.schema.vector_field.encode(),)}


def freeze_at(client, url, work, meanwhile, requests: int, storage: str) -> bool:
    """Returns whether the child was frozen, which it is not if it needs fewer requests."""
    empty(client)
    make(client, storage)
    with children.start(url, work, requests, signal.SIGSTOP) as [child]:
        if not children.is_frozen(child):
            return False
        time.sleep(children.EXPIRY + 0.02)
        expected = meanwhile(client)
        is_done = children.thaw(child)
    if work is drop and is_done and client.execute_command("FT._LIST") == []:
        assert client.keys() == []
        return True
    if work is add:
        there = VectorIndex.open(client, "docs").existing(ADDED)
        assert not is_done or there == set(ADDED)
        expected |= {id: row for id, row in zip(ADDED, MORE, strict=True) if id in there}
    if work is remove:
        there = VectorIndex.open(client, "docs").existing(IDS[:10])
        assert not (is_done and there)
        expected = {id: row for id, row in expected.items() if id not in IDS[:10] or id in there}
    check_exact(client, expected)
    check_nothing_else(client, expected)
    return True


WORKS = [
    (rebuild_type, "HASH"),
    (rebuild_algorithm, "HASH"),
    (rebuild_storage, "JSON"),
    (drop, "HASH"),
    (add, "HASH"),
    (add, "JSON"),
    (remove, "HASH"),
]
MEANWHILE = [write, rebuild_and_write, write_and_rebuild, make_again]


@pytest.mark.slow
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize(("work", "storage"), WORKS)
def test_what_others_were_told_stays_so_whenever_a_process_is_frozen(
    client, redis_server, work, meanwhile, storage
):
    requests = 0
    while freeze_at(client, redis_server.url, work, meanwhile, requests, storage):
        requests += 1
    assert requests > 4


@pytest.mark.parametrize(
    ("work", "storage", "meanwhile", "requests"),
    [
        (rebuild_type, "HASH", rebuild_and_write, 4),  # dropped the index that others had built
        (rebuild_type, "HASH", make_again, 23),  # removed the vectors of the new index
        (rebuild_algorithm, "HASH", make_again, 5),
        (rebuild_storage, "JSON", write_and_rebuild, 15),  # left copies that nobody deleted
        (rebuild_storage, "JSON", make_again, 16),
        (rebuild_storage, "JSON", write, 21),  # dropped the new index for the old one
        (rebuild_storage, "JSON", write, 22),
        (rebuild_storage, "JSON", write, 23),
        (drop, "HASH", write_and_rebuild, 4),
        (drop, "HASH", make_again, 8),  # deleted the documents of the new index
        (add, "HASH", rebuild_and_write, 3),  # left a field in the form of before
        (add, "JSON", rebuild_and_write, 3),  # left documents in the form of before
    ],
)
def test_a_frozen_process_goes_on_where_it_did_harm_once(
    client, redis_server, work, storage, meanwhile, requests
):
    assert freeze_at(client, redis_server.url, work, meanwhile, requests, storage)
