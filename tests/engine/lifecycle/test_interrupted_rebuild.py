"""A rebuild that is killed, refused, run twice at once, or disturbed: one index, and the right one.

Processes are really killed: each is a child that ends itself by SIGKILL before one of the requests
that it sends, the first, the second, and so on.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import children
import numpy as np
import pytest
import redis
from waiting import wait_until

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.lifecycle import lease, switching
from fiftyone_redis.engine.lifecycle.records import Record, Switch
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    ServerError,
)

COUNT, DIM = 120, 4
IDS = [f"{row:05}" for row in range(COUNT)]
FIELDS = f"vector VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"

# Python 3.12 warns of forks in a process with threads, which pytest's may have.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def matrix(vectors):
    return vectors(COUNT)


@pytest.fixture(params=["ours", "theirs", "JSON"])
def filled(client, matrix, request):
    """An index made here, one made by others under its own name, and one of FiftyOne's own."""
    return make_filled(client, matrix, request.param)


def make_filled(client, matrix, kind: str) -> VectorIndex:
    if kind == "ours":
        index = VectorIndex.create(client, Schema("docs", DIM))
    elif kind == "theirs":
        client.execute_command("FT.CREATE", "docs", *f"PREFIX 1 docs: SCHEMA {FIELDS}".split())
        index = VectorIndex.open(client, "docs")
    else:
        own = f"ON JSON PREFIX 1 docs: SCHEMA $.foid AS foid TAG $.vector AS {FIELDS}"
        client.execute_command("FT.CREATE", "docs", *own.split())
        index = VectorIndex.open(client, "docs")
    index.add(IDS, matrix)
    return index


def changes_of(index: VectorIndex) -> list[dict[str, str]]:
    if index.schema.storage == "JSON":
        return [{"storage": "HASH"}]
    return [{"algorithm": "HNSW"}, {"dtype": "float16"}]


def was_killed(url: str, requests: int, changes: dict[str, str]) -> bool:
    return children.was_killed(url, lambda index: index.rebuild(**changes), requests, 1.5)


def indexes(client) -> list[str]:
    return sorted(name.decode() for name in client.execute_command("FT._LIST"))


def check_right(client, matrix) -> VectorIndex:
    """Makes sure that an index has all vectors, and finds them."""
    index = VectorIndex.open(client, "docs")
    assert index.ids() == IDS
    assert np.allclose(index.fetch(IDS).vectors, matrix, atol=1e-2)
    assert index.search_ids(IDS[7:8], 1)[0].ids == IDS[7:8]
    assert index.search(matrix[9:10], 1)[0].ids == IDS[9:10]
    return index


def check_nothing_else(client, index: VectorIndex) -> None:
    """Makes sure that there is one index, with one field of vectors, and nothing else."""
    assert indexes(client) == [index.schema.server_name]
    assert client.dbsize() == COUNT
    if index.schema.storage == "HASH":
        fields = {field for key in client.scan_iter() for field in client.hkeys(key)}
        assert fields == {index.schema.vector_field.encode()}
    else:
        fields = {field for key in client.scan_iter() for field in client.json().get(key)}
        assert fields == {"foid", "vector"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_an_index_survives_that_its_rebuild_is_killed_before_any_request(
    client, redis_server, filled, matrix, number
):
    if number >= len(changes_of(filled)):
        pytest.skip("JSON documents have one kind of rebuild")
    changes = changes_of(filled)[number]
    before = dict(vars(filled.schema))
    requests, kills = 0, 0
    while was_killed(redis_server.url, requests, changes):
        index = check_right(client, matrix)
        index.rebuild(**changes)
        check_nothing_else(client, check_right(client, matrix))
        if "storage" in changes:
            index.drop()
            make_filled(client, matrix, "JSON")
        else:
            index.rebuild(**{name: before[name] for name in changes})
        requests, kills = requests + 1, kills + 1
    assert kills > 10


@pytest.mark.parametrize("requests", [9, 14, 19, 24])
def test_an_index_is_dropped_with_all_that_a_killed_rebuild_left(
    client, redis_server, filled, matrix, requests
):
    for changes in changes_of(filled):
        was_killed(redis_server.url, requests, changes)
    check_right(client, matrix).drop()
    assert (indexes(client), client.keys()) == ([], [])


def test_a_switch_that_was_interrupted_between_two_names_is_finished_by_whoever_opens(
    client, matrix, monkeypatch
):
    """As in a cluster, which cannot drop an index and make an alias of its name in one step."""
    monkeypatch.setattr(switching, "_GAP_SECONDS", 0.05)
    index = VectorIndex.create(client, Schema("docs", DIM))
    index.add(IDS, matrix)
    decide_switch(client, index.schema.server_name)
    client.execute_command("FT.ALIASDEL", "docs")

    check_right(client, matrix)
    assert client.execute_command("FT.INFO", "docs")[b"num_docs"] == COUNT


def decide_switch(client, name: str) -> None:
    """Notes that the alias is about to move to an index, as a rebuild does."""
    switch = Switch("docs", name, ("docs",), drops_documents=False)
    client.set(commands.record_key("docs"), Record(switch).to_json())


def test_a_search_waits_in_the_gap_between_two_names(client, matrix):
    index = VectorIndex.create(client, Schema("docs", DIM))
    index.add(IDS, matrix)
    name = index.schema.server_name
    decide_switch(client, name)
    client.execute_command("FT.ALIASDEL", "docs")
    timer = threading.Timer(0.2, client.execute_command, ("FT.ALIASADD", "docs", name))
    timer.start()
    assert index.search(matrix[9:10], 1)[0].ids == IDS[9:10]
    timer.join()


def test_a_rebuild_that_the_server_refuses_leaves_everything_as_it_was(client, filled, matrix):
    for changes in changes_of(filled):
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(ServerError, match="memory is full"):
                filled.rebuild(**changes)
        finally:
            client.config_set("maxmemory", 0)
        check_nothing_else(client, check_right(client, matrix))


def test_two_rebuilds_at_once_come_one_after_the_other(client, redis_server, filled, matrix):
    first, *rest = changes_of(filled)

    def rebuild(changes: dict[str, str]) -> None:
        with connect(redis_server.url) as own:
            VectorIndex.open(own, "docs").rebuild(**changes)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(rebuild, [first, *rest] * 2))
    index = check_right(client, matrix)
    for changes in [first, *rest]:
        assert [getattr(index.schema, name) for name in changes] == list(changes.values())
    check_nothing_else(client, index)


def test_an_index_that_is_dropped_while_it_is_rebuilt_stays_dropped(client, matrix, monkeypatch):
    index = VectorIndex.create(client, Schema("docs", DIM))
    index.add(IDS, matrix)
    other = VectorIndex.open(client, "docs")

    def drop_and_go_on(self, key: str, value: str) -> None:
        monkeypatch.undo()
        other.drop()
        self.set_if_held(key, value)

    monkeypatch.setattr(lease.Lease, "set_if_held", drop_and_go_on)
    with pytest.raises(IndexMismatchError, match="another process dropped or changed"):
        index.rebuild(algorithm="HNSW")
    assert (indexes(client), client.keys()) == ([], [])


def test_handles_that_others_hold_follow_every_change(client, filled, matrix):
    others = [VectorIndex.open(client, "docs") for _ in range(4)]
    for changes in changes_of(filled):
        filled.rebuild(**changes)
        assert others[0].search(matrix[3:4], 1)[0].ids == IDS[3:4]
        assert others[1].search_ids(IDS[3:4], 1)[0].ids == IDS[3:4]
        assert np.allclose(others[2].fetch(IDS).vectors, matrix, atol=1e-2)
        assert others[3].search(matrix[3:4], 1, within=IDS[:9])[0].ids == IDS[3:4]


def test_searches_are_answered_while_names_are_taken_over_and_moved(
    client, redis_server, filled, matrix
):
    """Those of handles, and plain ones by the index's name."""
    stop = threading.Event()
    answers: list[object] = []

    def search(by_handle: bool) -> None:
        with connect(redis_server.url) as own:
            index = VectorIndex.open(own, "docs")
            while not stop.is_set():
                try:
                    if by_handle:
                        answers.append(index.search_ids(IDS[5:6], 1)[0].ids == IDS[5:6])
                    else:
                        found = own.execute_command("FT.SEARCH", "docs", "*", "LIMIT", 0, 0)
                        answers.append(found[b"total_results"] == COUNT)
                except (FiftyOneRedisError, redis.RedisError) as error:
                    answers.append(error)

    threads = [threading.Thread(target=search, args=(each,)) for each in (True, False)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 4)
    for changes in changes_of(filled) * 2:
        filled.rebuild(**changes)
    wait_until(lambda: len(answers) > 10)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(answers) == {True}


def test_an_index_that_is_gone_is_gone_for_open_handles(client, filled, matrix):
    client.execute_command("FT.DROPINDEX", "docs", "DD")
    for use in (
        lambda: filled.search(matrix[:1], 1),
        lambda: filled.search_ids(IDS[:1], 1),
        lambda: filled.fetch(IDS),
        filled.ids,
        lambda: filled.existing(IDS),
        lambda: filled.rebuild(algorithm="HNSW"),
    ):
        with pytest.raises(IndexNotFoundError):
            use()
