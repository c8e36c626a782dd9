"""How long replies are waited for: of one server, and of a cluster that hangs; played back."""

import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from playback import FULL_PAGE, LAST_PAGE, SEARCH, Playback, later
from ports import find_unused_port

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.wire import pack_queries
from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.engine import connect
from fiftyone_redis.engine.documents import keys
from fiftyone_redis.engine.documents.keys import Keys
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import ConnectionFailedError, IndexNotFoundError

RECORDING = (
    Path(__file__).parents[2] / "shared" / "recordings" / "redis-8.8-search-8.8.0-cluster-of-3.json"
)
SCHEMA = Schema("a", 4)


@pytest.fixture
def server(monkeypatch):
    """One server, and no time to spare beyond a query's own limit."""
    monkeypatch.setattr(wire, "MARGIN", 0.2)
    monkeypatch.setattr(wire, "QUICK_TIMEOUT", 0.2)
    with Playback(RECORDING) as server:
        yield server


@contextmanager
def alone(server, **options):
    """A client of one server, which is patient."""
    with connect(host="127.0.0.1", port=server.port, cluster=False, **options) as client:
        yield client


def pages(client):
    return list(Keys(client, SCHEMA).read_pages())


def test_a_search_waits_for_its_own_time_limit_and_a_little(server):
    server.hang("FT.SEARCH")
    with alone(server) as client:
        for ask in [
            lambda: client.execute(*SEARCH, "TIMEOUT", 100),
            lambda: list(client.exchange([pack_queries([[*SEARCH, "TIMEOUT", 100]], [0])])),
        ]:
            server.counts.clear()
            with pytest.raises(ConnectionFailedError, match=r"within 0.3 s.*raise query_timeout"):
                ask()
            assert server.counts["FT.SEARCH"] == 1


@pytest.mark.parametrize("command", [["FT.INFO", "a"], ["FT._LIST"], ["FT.ALIASDEL", "a"]])
def test_a_command_that_takes_no_time_is_not_waited_for_long(server, command):
    server.hang(command[0])
    with alone(server) as client, pytest.raises(ConnectionFailedError, match=r"within 0\.2 s"):
        client.execute(*command)


def test_dropping_documents_may_take_as_long_as_the_connection_waits(server):
    server.hang("FT.DROPINDEX")
    later(0.5, server.go_on)
    with alone(server) as client, pytest.raises(IndexNotFoundError):
        client.execute("FT.DROPINDEX", "nope", "DD")


def test_pages_are_waited_for_as_long_as_the_query_may_take(server, monkeypatch):
    monkeypatch.setattr(keys, "TIMEOUT_MS", 2000)
    server.answer(lambda words: words[0] == "FT.AGGREGATE", FULL_PAGE)
    server.answer(lambda words: words[0] == "FT.CURSOR", LAST_PAGE)
    server.hang("FT.CURSOR")
    later(0.5, server.go_on)
    with alone(server) as client:
        assert pages(client) == [{}, {}]


def test_a_smaller_time_limit_of_the_connection_holds(server):
    server.hang("FT.SEARCH")
    with alone(server, socket_timeout=0.1, retries=1) as client:
        with pytest.raises(ConnectionFailedError, match="Timeout reading"):
            client.execute(*SEARCH, "TIMEOUT", 60_000)
        assert server.counts["FT.SEARCH"] == 2


def test_a_smaller_time_limit_leads_to_another_coordinator(played):
    port = played.nodes[1].port
    with connect(host="127.0.0.1", port=port, socket_timeout=0.3) as client:
        client.execute(*SEARCH)
        hanging = next(node for node in played.nodes if node.counts["FT.SEARCH"])
        hanging.hang("FT.SEARCH")
        assert client.execute(*SEARCH, "TIMEOUT", 60_000)[b"results"]
    hanging.go_on()


def with_a_dead_primary(played) -> int:
    """Has a primary that failed come first in CLUSTER SHARDS, as after a failover of it."""
    port = find_unused_port()
    node = b"".join(
        b"+%b\r\n+%b\r\n" % pair
        for pair in [
            (b"id", b"old"),
            (b"port", b"%d" % port),
            (b"ip", b"127.0.0.1"),
            (b"endpoint", b"127.0.0.1"),
            (b"role", b"master"),
            (b"health", b"fail"),
        ]
    )
    shard = b"%2\r\n+slots\r\n*0\r\n+nodes\r\n*1\r\n%6\r\n" + node
    played.answer(lambda words: words == ["CLUSTER", "SHARDS"], b"*1\r\n" + shard)
    return port


def test_a_coordinator_that_waits_for_a_dead_node_is_left_for_another(
    played, cluster_client, asked
):
    cluster_client.retry = RetryPolicy(20, 10)
    with_a_dead_primary(played)
    asked.hang("FT.SEARCH", "FT.AGGREGATE")
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert asked.counts["FT.SEARCH"] == 1
    asked.go_on()


def test_a_dead_node_for_which_all_coordinators_wait_is_named(played, cluster_client):
    port = with_a_dead_primary(played)
    for node in played.nodes:
        node.hang("FT.SEARCH")
    named = f"does not answer queries, and 127.0.0.1:{port}, which has failed.*bring that back"
    with pytest.raises(ConnectionFailedError, match=named):
        cluster_client.execute(*SEARCH)


def test_a_coordinator_is_left_when_another_primary_dies(played, cluster_client, asked):
    asked.hang("FT.SEARCH")
    victim = next(node for node in played.nodes if node is not asked)
    later(0.3, victim.die)
    with pytest.raises(ConnectionFailedError, match=rf"127.0.0.1:{victim.port} cannot be reached"):
        cluster_client.execute(*SEARCH)
    asked.go_on()


def test_a_coordinator_that_is_busy_is_waited_for(played, cluster_client, asked):
    cluster_client.execute(*SEARCH)
    asked.hang("FT.SEARCH")
    later(1.5, asked.go_on)
    assert cluster_client.execute(*SEARCH)[b"results"]


def test_a_server_that_takes_connections_and_says_nothing_is_said_soon(listening_port):
    with pytest.raises(ConnectionFailedError, match="did not answer in time"):
        connect(host="127.0.0.1", port=listening_port, socket_connect_timeout=0.2)


def test_a_fresh_client_passes_nodes_over_that_say_nothing(played):
    first, second, _ = played.nodes
    first.hang()
    began = time.monotonic()
    with connect(
        host="127.0.0.1", port=second.port, socket_connect_timeout=0.2, retry_timeout=0.2
    ) as client:
        assert len(client.list_primaries()) == 3
        with pytest.raises(ConnectionFailedError, match=f"127.0.0.1:{first.port}.*does not answer"):
            client.execute(*SEARCH)
        with client.open_decoding_client() as speaking:
            assert isinstance(speaking, redis.RedisCluster)
    assert time.monotonic() - began < 30
    first.go_on()
