"""URLs: every option that redis-py takes is taken, and what is wrong with one is said."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import redis

from fiftyone_redis.connection.client import connect
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.tls import TlsConnection
from fiftyone_redis.connection.url import find_options, parse_url, show_url
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.errors import ConnectionFailedError, SettingsError

EXAMPLES = {
    "client_name": "anna",
    "db": "0",
    "decode_responses": "True",
    "encoding": "latin-1",
    "encoding_errors": "replace",
    "health_check_interval": "30",
    "host": "localhost",
    "legacy_responses": "false",
    "lib_name": "photos",
    "lib_version": "7",
    "max_connections": "20",
    "password": "",
    "port": "1",
    "protocol": "2",
    "retry_on_timeout": "yes",
    "socket_connect_timeout": "2",
    "socket_keepalive": "true",
    "socket_read_size": "4096",
    "socket_timeout": "2.5",
    "username": "default",
}


def url_of(redis_server, kind: str) -> str:
    if kind == "unix":
        return redis_server.url
    return f"redis://127.0.0.1:{redis_server.port}"


KINDS = [pytest.param("unix", marks=pytest.mark.needs("socket")), "tcp"]


@pytest.mark.filterwarnings("ignore:.*lib_:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_every_option_that_redis_py_takes_is_taken(client, redis_server, kind):
    url = url_of(redis_server, kind)
    made = redis.UnixDomainSocketConnection if kind == "unix" else redis.Connection
    names = find_options(made) - {"retry_on_error"}
    assert names <= EXAMPLES.keys()
    for name in sorted(names):
        reached_by = f"{url}?{name}={EXAMPLES[name]}"
        with redis.Redis.from_url(reached_by) as theirs:
            theirs.ping()
        with connect(reached_by) as ours, ours.open_decoding_client() as speaking:
            index = VectorIndex.create(ours, Schema("docs", 2))
            index.add(["a"], np.ones((1, 2), np.float32))
            [found] = index.search(np.ones((1, 2), np.float32), 1)
            assert found.ids == ["a"], name
            assert speaking.echo("text") == "text", name
            index.drop()


@pytest.mark.parametrize("kind", KINDS)
def test_options_have_their_effect(client, redis_server, kind):
    url = f"{url_of(redis_server, kind)}?max_connections=3&client_name=anna&health_check_interval=9"
    with connect(url) as reached, reached.open_decoding_client() as speaking:
        assert reached.client_getname() == b"anna"
        assert speaking.client_getname() == "anna"
        for each in (reached, speaking):
            assert each.connection_pool.max_connections == 3
            assert each.connection_pool.make_connection().health_check_interval == 9


def test_one_connection_is_enough_for_one_thread(client, redis_server):
    vectors = np.random.default_rng(5).normal(size=(3000, 4)).astype(np.float32)
    with connect(f"redis://127.0.0.1:{redis_server.port}?max_connections=1") as reached:
        index = VectorIndex.create(reached, Schema("docs", 4))
        ids = [str(row) for row in range(len(vectors))]
        index.add(ids, vectors)
        assert len(index.fetch(ids).ids) == len(ids)
        assert index.search(vectors[:1], 1)[0].ids == ["0"]


def test_one_connection_is_enough_to_rebuild_with_another_type(client, redis_server):
    vectors = np.random.default_rng(5).normal(size=(3000, 4)).astype(np.float32)
    url = f"redis://127.0.0.1:{redis_server.port}?max_connections=1"
    with connect(url, retry_timeout=5) as reached:
        index = VectorIndex.create(reached, Schema("docs", 4))
        index.add([str(row) for row in range(len(vectors))], vectors)
        index.rebuild(dtype="float16", metric="euclidean")
        assert index.search(vectors[7:8], 1)[0].ids == ["7"]


def test_threads_take_turns_at_one_connection_without_a_warning(client, redis_server, caplog):
    def search(_: int) -> list[str]:
        return index.search(np.ones((1, 2), np.float32), 1)[0].ids

    url = f"redis://127.0.0.1:{redis_server.port}?max_connections=1"
    with connect(url, retries=1) as reached, ThreadPoolExecutor(8) as threads:
        index = VectorIndex.create(reached, Schema("docs", 2))
        index.add(["a"], np.ones((1, 2), np.float32))
        assert list(threads.map(search, range(200))) == [["a"]] * 200
    assert not caplog.records


def test_a_pool_that_stays_empty_is_not_taken_for_a_server_that_is_down(client, redis_server):
    url = f"redis://127.0.0.1:{redis_server.port}?max_connections=1"
    with (
        connect(url, retry_timeout=0.1) as reached,
        borrow_connection(reached),
        pytest.raises(ConnectionFailedError, match=r"are in use .*; raise max_connections"),
    ):
        reached.execute("PING")


def test_threads_wait_for_the_connections_that_there_may_be(client, redis_server):
    with (
        connect(f"redis://127.0.0.1:{redis_server.port}?max_connections=2") as reached,
        ThreadPoolExecutor(6) as threads,
    ):
        index = VectorIndex.create(reached, Schema("docs", 2))
        index.add(["a"], np.ones((1, 2), np.float32))
        queries = [np.ones((1, 2), np.float32)] * 60
        found = list(threads.map(lambda query: index.search(query, 1)[0].ids, queries))
        assert found == [["a"]] * 60


def test_values_have_the_types_that_redis_py_gives_them():
    parsed = parse_url("rediss://host?max_connections=20&socket_timeout=1&ssl_check_hostname=no")
    assert (parsed["max_connections"], parsed["socket_timeout"]) == (20, 1.0)
    assert parsed["ssl_check_hostname"] is False
    assert parsed["connection_class"] is TlsConnection


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("max_conections=sEcr3t", r"max_conections \(did you mean max_connections\?\)"),
        ("socket_timout=9", r"socket_timout \(did you mean socket_timeout\?\)"),
        ("retries=9", "set this package's own settings beside the url"),
        ("sEcr3t=1", "does not take in one; correct them"),
        ("max_connections=sEcr3t", "The url's max_connections cannot be used"),
        ("max_connections=-1", "The url's max_connections cannot be used"),
        ("socket_timeout=soon&db=sEcr3t", "The url's db, socket_timeout cannot be used"),
        ("encoding=sEcr3t", "The url's encoding cannot be used"),
        ("encoding=utf-16", "The url's encoding cannot be used"),
        ("protocol=9", "The url's protocol cannot be used"),
        ("retry_on_error=sEcr3t", "retry_on_error cannot be set; set retries"),
        ("ssl_cert_reqs=none", "ssl_cert_reqs: set without rediss:// in url"),
        ("parser_class=sEcr3t", "does not take in one: parser_class"),
        ("socket_keepalive_options=sEcr3t", "does not take in one: socket_keepalive_options"),
        ("connection_class=sEcr3t", "does not take in one: connection_class"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(query, said):
    with pytest.raises(SettingsError, match=said) as caught:
        connect(f"redis://127.0.0.1:1?{query}")
    assert "sEcr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("socket_timeout=-1", "socket_timeout must be a number of seconds"),
        ("socket_connect_timeout=1e300", "socket_connect_timeout must be a number of seconds"),
        ("ssl_ca_certs=/none", "ssl_ca_certs cannot be read"),
    ],
)
def test_options_that_are_settings_too_are_checked_like_these(query, said):
    with pytest.raises(SettingsError, match=said):
        connect(f"rediss://127.0.0.1:1?{query}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0?max_connections=2", "redis://host:6379/0?max_connections=2"),
        ("redis://host?password=s3cret&db=0", "redis://host?password=***&db=0"),
        ("redis://s3cret@host", "redis://***@host"),
        ("redis://host/s3cret", "***"),
        ("redis://host?pwd=s3cret", "***"),
        ("redis://host?db=s3cret", "***"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url, shown):
    assert show_url(url) == shown
