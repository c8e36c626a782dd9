"""Sentinels that are real processes: the primary is found, and followed when another takes over."""

import time

import numpy as np
import pytest
import redis

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    SettingsError,
    UnsupportedServerError,
)

DIM = 4
SERVICE = "photos"
SCHEMA = Schema("docs", DIM)
IDS = [f"{row:03}" for row in range(100)]
MATRIX = np.random.default_rng(51).normal(size=(100, DIM)).astype(np.float32)


@pytest.fixture
def sentinel_for(own_server, unused_port):
    """Starts a sentinel that watches a server; gives its address."""

    def sentinel_for(server, *more: str, watched: str = SERVICE) -> str:
        made = own_server(modules=False)
        made.kill()
        lines = [
            f"port {made.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {watched} 127.0.0.1 {server.port} 1",
            f"sentinel down-after-milliseconds {watched} 500",
            f"sentinel failover-timeout {watched} 3000",
            *more,
        ]
        (made.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        made.options = ("sentinel.conf", "--sentinel")
        made.start()
        return f"127.0.0.1:{made.port}"

    return sentinel_for


def reached(sentinels, **parameters) -> redis.Redis:
    return connect(sentinels=sentinels, **{"service_name": SERVICE, **parameters})


def test_the_primary_is_found(own_server, sentinel_for, unused_port):
    server = own_server()
    sentinel = sentinel_for(server)
    for addresses in (sentinel, [sentinel], f"127.0.0.1:{unused_port()},{sentinel}"):
        with reached(addresses) as client:
            assert client.execute("CONFIG", "GET", "port") == {b"port": b"%d" % server.port}


def test_a_decoding_client_finds_it_too(own_server, sentinel_for):
    with reached(sentinel_for(own_server())) as client, client.open_decoding_client() as speaking:
        assert speaking.echo("text") == "text"
        assert client.echo("text") == b"text"


def test_the_address_names_the_service_and_the_sentinels(own_server, sentinel_for):
    sentinel = sentinel_for(own_server())
    with reached(sentinel) as client:
        assert client.address == f"'photos' of the sentinels {sentinel}"


def test_the_server_and_the_sentinels_have_credentials_of_their_own(own_server, sentinel_for):
    server = own_server("--requirepass", "secret1")
    sentinel = sentinel_for(server, f"sentinel auth-pass {SERVICE} secret1", "requirepass secret2")
    passwords = {"password": "secret1", "sentinel_password": "secret2"}
    with reached(sentinel, **passwords) as client:
        assert client.ping()
        assert "secret" not in repr(client)
    for wrong in (
        {**passwords, "sentinel_password": None},
        {**passwords, "sentinel_password": "x"},
    ):
        with pytest.raises(AuthenticationError, match="set sentinel_username and") as caught:
            reached(sentinel, **wrong)
        assert "secret" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="check username and password"):
        reached(sentinel, **{**passwords, "password": "x"})


def test_a_wrong_service_name_is_said_at_once(own_server, sentinel_for):
    sentinel = sentinel_for(own_server())
    begun = time.monotonic()
    with pytest.raises(ConnectionFailedError) as caught:
        reached(sentinel, service_name="phptos")
    assert time.monotonic() - begun < 5
    assert str(caught.value) == (
        f"The sentinels {sentinel} know no service 'phptos', only 'photos'; set service_name."
    )


def test_no_sentinel_that_answers_is_said_at_once(unused_port):
    nobody = [f"127.0.0.1:{unused_port()}", f"127.0.0.1:{unused_port()}"]
    begun = time.monotonic()
    with pytest.raises(ConnectionFailedError) as caught:
        reached(nobody)
    assert time.monotonic() - begun < 5
    assert f"No sentinel answers at {', '.join(nobody)}" in str(caught.value)
    assert str(caught.value).endswith("set sentinels to addresses of sentinels.")


def test_a_server_that_is_no_sentinel_is_said(own_server):
    with pytest.raises(ConnectionFailedError, match="No sentinel answers at"):
        reached(f"127.0.0.1:{own_server().port}")


@pytest.mark.needs("bare")
def test_a_primary_without_the_engine_is_refused(own_server, sentinel_for):
    with pytest.raises(UnsupportedServerError):
        reached(sentinel_for(own_server(modules=False)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sentinels": "host:1"}, "sentinels is set without service_name"),
        ({"service_name": "photos"}, "service_name: set without sentinels"),
        ({"sentinels": "host:1", "host": "other"}, "sentinels and host are both set"),
        ({"sentinels": "host:1", "url": "redis://other"}, "url and sentinels are both set"),
        ({"sentinels": "host:many"}, "sentinels must be addresses such as"),
    ],
)
def test_settings_in_conflict_are_named(given, said):
    with pytest.raises(SettingsError, match=said):
        connect(**given)


def test_a_primary_that_does_not_come_back_is_said(own_server, sentinel_for):
    server = own_server()
    sentinel = sentinel_for(server)
    server.kill()
    for _ in range(2):  # before and after the sentinel notices
        with pytest.raises(ConnectionFailedError) as caught:
            reached(sentinel, retry_timeout=1)
        assert "The sentinels" in str(caught.value)
        assert "'photos'" in str(caught.value) or "which does not answer" in str(caught.value)


@pytest.mark.slow
def test_a_failover_in_the_middle_of_an_upload_is_followed(own_server, sentinel_for, small_batches):
    old, new = own_server(), own_server()
    with new.client() as replica:
        replica.replicaof("127.0.0.1", old.port)
    sentinel = sentinel_for(old)
    wait_for_replica(sentinel)
    with reached(sentinel) as client:
        index = VectorIndex.create(client, SCHEMA)
        written = 0
        for done in Documents(client, SCHEMA).write(IDS, MATRIX, {}):
            written += done
            if written == 50:
                wait_for_documents(new, 50)
                old.kill()
        assert written == 100
        port = client.execute("CONFIG", "GET", "port")
        assert port == {b"port": b"%d" % new.port}
        assert len(index.fetch(IDS).ids) == 100
        [found] = index.search(MATRIX[7:8], 1)
        assert found.ids == ["007"]


@pytest.mark.slow
def test_a_first_connection_waits_for_a_failover(own_server, sentinel_for):
    old, new = own_server(), own_server()
    with new.client() as replica:
        replica.replicaof("127.0.0.1", old.port)
    sentinel = sentinel_for(old)
    wait_for_replica(sentinel)
    old.kill()  # which the sentinel has not noticed yet
    with reached(sentinel) as client:
        assert client.execute("CONFIG", "GET", "port") == {b"port": b"%d" % new.port}


def wait_for_documents(server, count: int) -> None:
    with server.client() as client:
        deadline = time.monotonic() + 30
        while client.dbsize() < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def wait_for_replica(sentinel: str) -> None:
    state_of(sentinel, lambda state: state["num-slaves"] == 1)


def state_of(sentinel: str, wanted) -> None:
    """Waits until a sentinel sees the service in a state."""
    with redis.Redis("127.0.0.1", int(sentinel.split(":")[1]), protocol=2) as client:
        deadline = time.monotonic() + 30
        while not wanted(client.sentinel_masters()[SERVICE]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
