"""Servers that are killed and started again, load, or fail over: what is done again."""

import threading
import time

import pytest
import redis
from hundred_documents import IDS, MATRIX, SCHEMA, blobs, write
from redis.exceptions import (
    BusyLoadingError,
)
from waiting import do_later

from fiftyone_redis.connection import retry
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    ConnectionFailedError,
    ServerError,
)


def test_an_upload_survives_that_the_server_is_killed_and_started_again(lasting, small_batches):
    written = 0
    with lasting.connect() as client:
        for done in Documents(client, SCHEMA).write(IDS, MATRIX, {}):
            written += done
            if written == 50:
                lasting.kill()
                threading.Timer(0.3, lasting.start, [False]).start()
        assert written == 100
        assert blobs(client) == {id: row.tobytes() for id, row in zip(IDS, MATRIX, strict=True)}


def test_a_read_survives_that_the_server_is_killed_and_started_again(lasting, small_batches):
    with lasting.connect() as client:
        write(client)
        found = []
        for batch, rows in Documents(client, SCHEMA).read(IDS, ["vector"]):
            found += zip(batch, rows, strict=True)
            if len(found) == 50:
                lasting.kill()
                threading.Timer(0.3, lasting.start, [False]).start()
    assert found == [(id, [row.tobytes()]) for id, row in zip(IDS, MATRIX, strict=True)]


def test_a_walk_finds_all_although_the_server_is_started_again(lasting, small_pages):
    with lasting.connect() as client:
        write(client)
        found = []
        for page in Documents(client, SCHEMA).walk_ids():
            found += page
            if len(found) < 30:
                lasting.kill()
                lasting.start()  # whose table has another order
    assert sorted(found) == IDS


def test_a_search_waits_for_a_server_that_is_started_again(lasting):
    with lasting.connect() as client:
        index = VectorIndex.create(client, SCHEMA)
        index.add(IDS, MATRIX)
        lasting.kill()
        with do_later(0.3, lambda: lasting.start(wait=False)):
            [found] = index.search(MATRIX[7:8], 100)
    assert found.ids[0] == "007"
    assert len(found.ids) == 100


def test_a_server_that_loads_is_waited_for(own_server):
    server = own_server()
    with server.client() as own:
        own.mset({f"key{number}": "x" * 500 for number in range(200)})
        own.save()
    server.kill()
    server.options = (
        *server.options,
        *("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"),
    )
    server.start(wait=False)
    wait_for_loading(server)
    with server.connect() as client:
        assert client.execute("DBSIZE") == 200


def wait_for_loading(server) -> None:
    while True:
        try:
            with server.client() as own:
                own.ping()
        except BusyLoadingError:
            return
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            pytest.fail("It was too fast to be seen loading.")


def test_a_server_that_is_busy_is_asked_again(lasting):
    with lasting.connect(socket_timeout=0.3) as client, lasting.client() as own:
        sleeper = threading.Thread(target=own.execute_command, args=("DEBUG", "SLEEP", 1))
        sleeper.start()
        time.sleep(0.1)
        assert client.execute("ECHO", "text") == b"text"
        sleeper.join()


def test_a_write_waits_for_a_replica_to_become_the_primary(own_server, small_batches):
    server = own_server()
    with server.connect() as client, server.client() as own:
        own.replicaof("127.0.0.1", 1)
        with do_later(0.3, lambda: server.client().replicaof("NO", "ONE")):
            write(client)
        assert own.dbsize() == 100


def test_documents_deleted_before_a_failover_are_counted(own_server, small_batches):
    server = own_server()
    with server.connect() as client, server.client() as own:
        write(client)
        own.replicaof("127.0.0.1", 1)
        with do_later(0.3, lambda: server.client().replicaof("NO", "ONE")):
            assert len(Documents(client, SCHEMA).delete(IDS)) == 100


def test_a_read_waits_for_a_replica_without_its_primary(own_server):
    server = own_server("--replica-serve-stale-data", "no")
    with server.connect() as client, server.client() as own:
        write(client)
        own.replicaof("127.0.0.1", 1)
        with do_later(0.3, lambda: server.client().replicaof("NO", "ONE")):
            assert len(blobs(client)) == 100


def test_a_cluster_that_is_down_is_waited_for(own_server, unused_port):
    bus = ("--cluster-port", str(unused_port()))  # the usual one may be too large a number
    server = own_server("--cluster-enabled", "yes", *bus, modules=False)
    with server.client() as own:
        rules = retry.RetryPolicy(retry.RETRIES, retry.RETRY_TIMEOUT)
        client = Server("127.0.0.1", server.port, retry=rules)
        with do_later(0.2, lambda: own.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)):
            assert client.execute("SET", "key", "value")
        client.close()


@pytest.mark.parametrize("rules", [{"retries": 0}, {"retry_timeout": 0}, {"retry_timeout": 0.3}])
def test_the_number_and_the_total_time_are_settings(lasting, rules):
    with lasting.connect(**rules) as client:
        lasting.kill()
        begun = time.monotonic()
        with pytest.raises(ConnectionFailedError):
            client.execute("PING")
        with pytest.raises(ConnectionFailedError):
            write(client)
        with pytest.raises(ConnectionFailedError):
            list(Documents(client, SCHEMA).walk_ids())
    assert time.monotonic() - begun < 5


def test_a_replica_that_stays_one_is_said(own_server):
    server = own_server()
    with server.connect(retry_timeout=0.3) as client, server.client() as own:
        own.replicaof("127.0.0.1", 1)
        with pytest.raises(ServerError, match="it is a replica"):
            write(client)
