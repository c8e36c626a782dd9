"""Connections that are lost, and refusals: what is done again, what is not."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import redis
from cutter import Cutter
from hundred_documents import DIM, IDS, MATRIX, SCHEMA, blobs, write
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from fiftyone_redis.connection import retry
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    IndexMismatchError,
    ServerError,
    UnsupportedServerError,
)


def errors(client: redis.Redis) -> int:
    """Returns how often the server has refused a command."""
    return sum(kind["count"] for kind in client.info("errorstats").values())


@pytest.fixture
def cutter(client, redis_server):
    """A way to the empty server of all tests that can be cut."""
    cutter = Cutter(redis_server.port)
    yield cutter
    cutter.close()


@pytest.fixture
def far(cutter):
    """A client that goes this way."""
    with connect(host="127.0.0.1", port=cutter.port) as client:
        yield client


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Connection closed by server."),
        redis.TimeoutError("Timeout reading from socket"),
        BusyLoadingError("Redis is loading the dataset in memory"),
        ReadOnlyError("You can't write against a read only replica."),
        ClusterDownError("CLUSTERDOWN The cluster is down"),
        MasterDownError("MASTERDOWN Link with MASTER is down"),
        TryAgainError("TRYAGAIN Multiple keys request during rehashing of slot"),
        ResponseError("Could not send query to cluster"),
        ResponseError("Query requires unavailable slots"),
        ResponseError("SEARCH_SLOTS_UNAVAIL Query requires unavailable slots"),
        ResponseError("Index mismatch: Shard index is different than queried index"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_tried_again(error):
    attempts = attempts_of(1, 10)
    attempts.wait_or_raise(error)
    with pytest.raises(type(error)):
        attempts.wait_or_raise(error)


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("WRONGPASS invalid username-password pair"),
        NoPermissionError("NOPERM this user has no permissions"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ResponseError("Syntax error at offset 5"),
        ResponseError("Timeout limit was reached"),
        ResponseError("SEARCH_TIMEOUT Timeout limit was reached"),
        ResponseError("Not enough memory available to execute the query"),
        redis.DataError("Invalid input"),
    ],
    ids=str,
)
def test_what_does_not_pass_is_said_at_once(error):
    with pytest.raises(type(error)):
        attempts_of(10, 10).wait_or_raise(error)


def test_waits_grow_differ_and_end(monkeypatch):
    waits = []
    # Not the module itself: other threads of the tests sleep, too.
    clock = SimpleNamespace(sleep=waits.append, monotonic=time.monotonic)
    monkeypatch.setattr(retry, "time", clock)
    attempts = attempts_of(8, 1000)
    for _ in range(8):
        attempts.wait_or_raise(redis.ConnectionError())
    with pytest.raises(redis.ConnectionError):
        attempts.wait_or_raise(redis.ConnectionError())
    assert all(0.5 * 0.05 * 2**n <= waits[n - 1] <= 0.05 * 2**n for n in range(1, 7))
    assert len(set(waits)) == 8
    assert max(waits) <= 5


def test_progress_gives_all_attempts_back(monkeypatch):
    attempts = attempts_of(1, 10)
    for _ in range(3):
        attempts.wait_or_raise(redis.ConnectionError())
        attempts.reset()


def attempts_of(count: int, seconds: float) -> retry.Attempts:
    """Returns the attempts under such a policy."""
    return retry.Attempts(retry.RetryPolicy(count, seconds))


def test_a_client_made_elsewhere_is_left_to_its_own_rules(client, redis_server):
    with Server.from_url(redis_server.url) as own:
        assert own.retry_policy == retry.RetryPolicy(0, 0)
    assert client.retry_policy == retry.RetryPolicy(retry.RETRIES, retry.RETRY_TIMEOUT)


def test_a_command_survives_that_its_connection_is_killed(client):
    client.client_kill_filter(_type="normal", skipme=False)
    assert client.execute("ECHO", "text") == b"text"


def test_a_query_survives_that_its_reply_is_lost(client, cutter, far):
    VectorIndex.create(client, SCHEMA).add(IDS, MATRIX)
    index = VectorIndex.open(far, "docs")
    cutter.cut_next_reply()
    [found] = index.search(MATRIX[7:8], 1)
    assert found.ids == ["007"]


@pytest.mark.parametrize("times", [1, 3])
def test_an_upload_survives_that_its_connections_are_killed(
    client, cutter, far, small_batches, times
):
    written = 0
    for done in Documents(far, SCHEMA).write(IDS, MATRIX, {}):
        written += done
        if written in (20, 50, 90)[:times]:
            cutter.cut_next_reply()
    assert written == 100
    assert blobs(client) == {id: row.tobytes() for id, row in zip(IDS, MATRIX, strict=True)}


def test_a_read_survives_that_its_connections_are_killed(client, cutter, far, small_batches):
    write(client)
    found = []
    for batch, rows in Documents(far, SCHEMA).read(IDS, ["vector"]):
        found += zip(batch, rows, strict=True)
        if len(found) in (10, 60):
            client.client_kill_filter(_type="normal", skipme=True)
    assert found == [(id, [row.tobytes()]) for id, row in zip(IDS, MATRIX, strict=True)]


def test_what_was_answered_is_not_sent_again(client, cutter, far, small_batches):
    write(client)
    client.config_resetstat()
    for number, _ in enumerate(Documents(far, SCHEMA).read(IDS, ["vector"])):
        if number == 4:
            client.client_kill_filter(_type="normal", skipme=True)
    assert 100 <= client.info("commandstats")["cmdstat_hmget"]["calls"] <= 120


def test_an_index_is_made_and_dropped_although_the_replies_are_lost(client, cutter, far):
    cutter.cut_next_reply()
    far.execute("PING")
    index = VectorIndex(far, SCHEMA)
    for command in (
        ["FT.CREATE", "docs", "SCHEMA", "a", "TAG"],
        ["FT.ALIASADD", "other", "docs"],
        ["FT.DROPINDEX", "docs"],
    ):
        cutter.cut_next_reply()
        assert far.execute(*command) == b"OK"
    assert not VectorIndex.exists(far, index.schema.name)


def test_an_index_that_others_made_is_still_in_the_way(client, far):
    client.execute_command("FT.CREATE", "docs", "SCHEMA", "a", "TAG")
    with pytest.raises(IndexMismatchError, match="already"):
        far.execute("FT.CREATE", "docs", "SCHEMA", "a", "TAG")


def test_no_page_of_a_cursor_is_lost_with_its_reply(client, cutter, far):
    schema = Schema("tagged", DIM, tags=("tag",))
    count = 12_000  # two pages
    index = VectorIndex.create(client, schema)
    ids = [f"{row:05}" for row in range(count)]
    index.add(ids, np.ones((count, DIM)), {"tag": ["same"] * count})
    distant = VectorIndex(far, schema)
    cutter.cut_reply_to(b"FT.CURSOR\r\n$4\r\nREAD")
    assert sorted(distant.ids_with_tag("tag", ["same"])) == ids
    assert cutter.is_done


def test_an_abandoned_walk_keeps_its_connection(client, small_pages):
    write(client)
    before = client.client_id()
    assert len(next(Documents(client, SCHEMA).walk_ids())) < 100
    assert client.client_id() == before


def test_a_refusal_is_not_repeated(client):
    before = errors(client)
    for command in (["HSET", "key"], ["FT.SEARCH", "docs", "("]):
        with pytest.raises(Exception, match=r"."):
            client.execute(*command)
    assert errors(client) == before + 2


def test_a_full_server_is_not_asked_again(client, full_server):
    before = errors(client)
    with pytest.raises(ServerError, match="memory is full"):
        client.execute("SET", "key", "value")
    assert errors(client) == before + 1


def test_a_wrong_password_is_not_tried_again(client, redis_server):
    before = errors(client)
    with pytest.raises(AuthenticationError):
        connect(host="127.0.0.1", port=redis_server.port, username="nobody", password="wrong")
    assert errors(client) == before + 1


def test_a_port_where_nothing_listens_is_not_waited_for(unused_port):
    begun = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="refused"):
        connect(host="127.0.0.1", port=unused_port(), retries=100, retry_timeout=1000)
    assert time.monotonic() - begun < 5


def test_a_server_without_the_engine_is_not_waited_for(own_server):
    server = own_server(modules=False)
    with pytest.raises(UnsupportedServerError):
        server.connect()
