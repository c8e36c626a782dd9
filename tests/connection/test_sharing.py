"""One client in several threads, and in processes that were forked after it was made."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import children
import numpy as np
import pytest
from waiting import wait_until

from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.documents.documents import Documents

DIM = 8
COUNT = 400
SCHEMA = Schema("docs", DIM)
MATRIX = np.random.default_rng(51).normal(size=(COUNT, DIM)).astype(np.float32)
IDS = [f"{row:05}" for row in range(COUNT)]

# Python 3.12 warns of forks in a process with threads, which pytest's may have.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(params=[pytest.param("socket", marks=pytest.mark.needs("socket")), "port"])
def shared(client, redis_server, request):
    """An index that is filled, whose client has been used."""
    where = {"url": redis_server.url} if request.param == "socket" else {"port": redis_server.port}
    with connect(**where) as made:
        index = VectorIndex.create(made, SCHEMA)
        index.add(IDS, MATRIX)
        yield index


def works(index: VectorIndex, name: str) -> bool:
    """Searches, writes, reads and deletes for a while; returns whether all of it was right."""
    ids = [f"{name}-{id}" for id in IDS]
    for turn in range(5):
        index.add(ids, MATRIX + 100)
        for row in range(turn, COUNT, 100):
            [found] = index.search(MATRIX[row : row + 1], 1)
            assert found.ids == [IDS[row]]
        read = index.fetch(ids)
        assert read.ids == ids
        assert np.array_equal(read.vectors, MATRIX + 100)
        index.remove(ids)
        assert not index.existing(ids)
    return True


def forked(index: VectorIndex):
    """Forks three processes that work with an index."""
    return children.forked(works, [(index, f"{number}") for number in range(3)])


def test_threads_search_and_write_at_once(shared):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(works, [shared] * 8, map(str, range(8))))
    assert len(shared) == COUNT


def test_processes_forked_after_the_client_was_made_work_at_once(shared):
    with forked(shared) as working:
        assert works(shared, "parent")
        assert children.join(working) == [0, 0, 0]


def test_a_fork_in_the_middle_of_an_upload_disturbs_nobody(shared, small_batches):
    ids = [f"more-{id}" for id in IDS]
    writing = Documents(shared.client, SCHEMA).write(ids, MATRIX, {})
    written = next(writing)
    with forked(shared) as working:
        written += sum(writing)
        assert children.join(working) == [0, 0, 0]
    assert written == COUNT
    assert len(shared) == 2 * COUNT


def test_a_fork_while_threads_search_works(shared):
    """They are connected: glibc hangs in a child that is forked while a thread looks up a host."""
    ended, searching = threading.Event(), set()

    def search_on() -> bool:
        while not ended.is_set():
            assert works(shared, threading.current_thread().name)
            searching.add(threading.current_thread())
        return True

    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(search_on) for _ in range(2)]
        try:
            wait_until(lambda: len(searching) == 2)
            with forked(shared) as working:
                assert children.join(working) == [0, 0, 0]
        finally:
            ended.set()
        assert all(thread.result() for thread in threads)


def test_a_fork_while_a_thread_takes_a_connection_works(shared):
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with shared.client.connection_pool._lock:
            held.set()
            ended.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with forked(shared) as working:
        ended.set()
        thread.join()
        assert children.join(working) == [0, 0, 0]


def test_a_connection_is_released_while_its_thread_holds_the_locks_of_the_pool(shared):
    """The garbage collector may run in that moment, and end a generator that has a connection."""
    pool = shared.client.connection_pool
    dispatcher_lock = getattr(getattr(pool, "_event_dispatcher", None), "_lock", nullcontext())

    def release() -> None:
        with pool._lock, dispatcher_lock, borrow_connection(shared.client):
            pass

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_forked_processes_survive_lost_connections(client, shared):
    with forked(shared) as working:
        for _ in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)
        assert works(shared, "parent")
        assert children.join(working) == [0, 0, 0]
