"""Connecting: to servers that run, to none, to wrong ones, and what is said about it."""

import contextlib
import subprocess
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fiftyone_redis import server
from fiftyone_redis.connection import pool
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    SettingsError,
    UnsupportedServerError,
)
from fiftyone_redis.server.program import Program, build_command, build_environment

SECRET = "sEcr3t"
USER = "tester"


@pytest.fixture
def refused_port(unused_port):
    """A port on which nothing listens."""
    return unused_port()


@pytest.fixture
def user(client):
    """A user of the server with a password."""
    client.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{SECRET}", "~*", "+@all")
    yield USER
    client.execute_command("ACL", "DELUSER", USER)


@pytest.fixture
def without_engine(tmp_path, unused_port):
    """Starts a real server that has no modules; gives its port."""
    wheel = server.find_program()
    bare = Program(wheel.executable, (), wheel.libraries)

    @contextlib.contextmanager
    def running(*options: str):
        port = unused_port()
        process = subprocess.Popen(
            [*build_command(bare, {"port": str(port), "bind": "127.0.0.1", "save": ""}), *options],
            cwd=tmp_path,
            env=build_environment(bare, tmp_path),
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            yield port
        finally:
            process.kill()
            process.wait()

    return running


def impatient(port: int) -> Server:
    """Returns a client that tries once."""
    return Server("127.0.0.1", port, protocol=2, retry=Retry(NoBackoff(), 0))


def wait_for(port: int) -> None:
    """Waits until a server answers, whatever it says."""
    deadline = time.monotonic() + 10
    with impatient(port) as probe:
        while time.monotonic() < deadline:
            try:
                probe.ping()
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return
    pytest.fail("The server without modules did not start.")


def said(error: BaseException | None) -> str:
    """Returns all that an error and those behind it say."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def is_one_sentence(error: BaseException) -> bool:
    return str(error).endswith(".") and "\n" not in str(error) and str(error)[0].isupper()


def test_a_server_is_reached_by_host_and_port(client, redis_server):
    client.set("key", "value")
    with connect(host="127.0.0.1", port=redis_server.port) as reached:
        assert reached.get("key") == b"value"


@pytest.mark.needs("socket")
def test_a_server_is_reached_by_the_url_of_its_socket(client, redis_server):
    client.set("key", "value")
    assert redis_server.url.startswith("unix://")
    with connect(redis_server.url) as reached:
        assert reached.get("key") == b"value"


def test_a_server_is_reached_by_the_url_of_its_port(client, redis_server):
    client.set("key", "value")
    with connect(f"redis://localhost:{redis_server.port}/0") as reached:
        assert reached.get("key") == b"value"


def test_a_user_is_logged_in_by_name_and_by_url(user, redis_server):
    port = redis_server.port
    with connect(host="127.0.0.1", port=port, username=user, password=SECRET) as reached:
        assert reached.execute_command("ACL", "WHOAMI") == user.encode()
    with connect(f"redis://{user}:{SECRET}@127.0.0.1:{port}") as reached:
        assert reached.execute_command("ACL", "WHOAMI") == user.encode()


def test_replies_are_bytes_in_resp3(client):
    client.hset("key", "field", "value")
    assert client.execute_command("HGETALL", "key") == {b"field": b"value"}


@pytest.mark.parametrize("option", ["protocol=2", "decode_responses=True"])
def test_replies_are_bytes_in_resp3_whatever_the_url(client, redis_server, option):
    VectorIndex.create(client, Schema("docs", 2))
    with connect(f"{redis_server.url}?{option}") as reached:
        assert isinstance(reached.execute_command("FT.INFO", "docs"), dict)
        assert reached.echo("text") == b"text"


def test_a_port_where_nothing_listens_is_said(refused_port):
    with pytest.raises(ConnectionFailedError, match=f"No Redis answers at .*:{refused_port}") as e:
        connect(host="127.0.0.1", port=refused_port, password=SECRET)
    assert is_one_sentence(e.value)
    assert "fiftyone-redis server start" in str(e.value)
    assert isinstance(e.value, ConnectionError)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # redis-py 5.0 forgets its own socket
def test_a_socket_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConnectionFailedError, match=r"No Redis answers at .*none\.sock"):
        connect(f"unix://{tmp_path}/none.sock")


def test_a_server_that_never_answers_is_said(listening_port):
    with pytest.raises(ConnectionFailedError, match="did not answer in time"):
        connect(
            host="127.0.0.1", port=listening_port, socket_connect_timeout=0.2, socket_timeout=0.2
        )


def test_a_server_that_went_away_is_said(without_engine):
    with without_engine() as port:
        client = impatient(port)
        client.ping()
    with pytest.raises(ConnectionFailedError):
        client.execute("PING")
    client.close()


@pytest.mark.parametrize("password", ["wr0ng", f"{SECRET}!", None])
def test_a_wrong_password_is_said_but_not_told(user, redis_server, password):
    with pytest.raises(AuthenticationError, match="check username and password") as caught:
        connect(host="127.0.0.1", port=redis_server.port, username=user, password=password or "")
    assert is_one_sentence(caught.value)
    assert SECRET not in said(caught.value)
    assert not password or password not in said(caught.value)


def test_a_wrong_password_in_a_url_is_said_but_not_told(user, redis_server):
    with pytest.raises(AuthenticationError) as caught:
        connect(f"redis://{user}:wr0ng@127.0.0.1:{redis_server.port}")
    assert "wr0ng" not in said(caught.value)


def test_a_user_who_may_not_search_is_told_so(client, user, redis_server):
    client.execute_command("ACL", "SETUSER", user, "-ft.info")
    with (
        connect(host="127.0.0.1", port=redis_server.port, username=user, password=SECRET) as own,
        pytest.raises(AuthenticationError, match=r"run the 'FT\.INFO' command") as caught,
    ):
        VectorIndex.open(own, "any")
    assert SECRET not in said(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://{user}:{secret}@127.0.0.1:6379",
        "redis:{user}:{secret}@127.0.0.1:6379",
        "{user}:{secret}@127.0.0.1:6379",
        "127.0.0.1:6379",
        "",
        "redis://{user}:{secret}@127.0.0.1:port",
        "redis://{user}:{secret}@127.0.0.1:99999",
        "redis://{user}:{secret}@[127.0.0.1:6379",
        "redis://{user}:{secret}/%@127.0.0.1:6379",
        "redis://{user}:{secret}#@127.0.0.1:6379",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_but_not_told(url):
    with pytest.raises(SettingsError, match="redis://host:6379") as caught:
        connect(url.format(user=USER, secret=SECRET))
    assert is_one_sentence(caught.value)
    assert SECRET not in said(caught.value)


def test_a_password_with_a_slash_is_not_told():
    with pytest.raises(FiftyOneRedisError) as caught:
        connect("redis://:54321/rest@127.0.0.1:6379")
    assert "54321" not in said(caught.value)


def test_another_database_than_0_is_refused(client, redis_server):
    with pytest.raises(UnsupportedServerError, match="database 0, not in 3; set db=0") as caught:
        connect(host="127.0.0.1", port=redis_server.port, db=3)
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize("end", ["/3", "?db=3"])
def test_another_database_than_0_in_a_url_is_refused(client, redis_server, end):
    with pytest.raises(UnsupportedServerError, match="set db=0"):
        connect(f"redis://127.0.0.1:{redis_server.port}{end}")


@pytest.mark.needs("bare")
def test_a_server_without_the_query_engine_is_refused(without_engine):
    with without_engine() as port:
        with pytest.raises(UnsupportedServerError, match="no query engine") as e:
            connect(host="127.0.0.1", port=port)
        assert is_one_sentence(e.value)


def test_a_server_that_repeats_the_password_is_not_quoted(without_engine):
    options = ["--requirepass", SECRET, "--rename-command", "HELLO", "NONE"]
    with without_engine(*options) as port:
        with pytest.raises(FiftyOneRedisError) as caught:
            connect(host="127.0.0.1", port=port, password=SECRET)
        assert SECRET not in said(caught.value)


def test_clients_do_not_show_the_password(user, redis_server):
    with connect(f"redis://{user}:{SECRET}@127.0.0.1:{redis_server.port}") as reached:
        speaking = reached.open_decoding_client()
        index = VectorIndex(reached, Schema("docs", 2))
        shown = [reached, reached.connection_pool, speaking, speaking.connection_pool, index]
        assert SECRET not in " ".join(repr(each) for each in shown)
        assert SECRET not in reached.address
        speaking.close()


@pytest.mark.parametrize("kind", [pytest.param("unix", marks=pytest.mark.needs("socket")), "tcp"])
def test_a_decoding_client_speaks_text_and_knows_the_indexes(client, redis_server, kind):
    index = VectorIndex.create(client, Schema("docs", 2))
    url = redis_server.url if kind == "unix" else f"redis://127.0.0.1:{redis_server.port}"
    with connect(url) as reached, reached.open_decoding_client() as speaking:
        speaking.set("key", "välue")
        assert speaking.get("key") == "välue"
        assert speaking.ft("docs").info()["index_name"] == index.schema.server_name
        assert reached.get("key") == "välue".encode()


def test_a_decoding_client_logs_in_too(user, redis_server):
    with (
        connect(f"redis://{user}:{SECRET}@127.0.0.1:{redis_server.port}") as reached,
        reached.open_decoding_client() as speaking,
    ):
        assert speaking.execute_command("ACL", "WHOAMI") == user


@pytest.mark.needs("bare")
def test_a_connection_that_is_refused_is_closed(without_engine):
    with without_engine() as port, impatient(port) as probe:
        with pytest.raises(UnsupportedServerError) as caught:
            connect(host="127.0.0.1", port=port)
        assert len(probe.client_list()) == 1
        del caught


def test_a_borrowed_connection_is_closed_after_an_error_and_comes_back(redis_server):
    lone = redis.Redis(port=redis_server.port, protocol=3, max_connections=1)
    with contextlib.suppress(RuntimeError), pool.borrow_connection(lone) as borrowed:
        borrowed.send_command("PING")  # its reply is never read
        raise RuntimeError
    assert lone.echo("text") == b"text"
    lone.close()


@pytest.mark.needs("socket")
def test_the_address_is_the_socket_or_host_and_port(client, redis_server):
    assert client.address == str(redis_server.folder / "redis.sock")
    with connect(host="127.0.0.1", port=redis_server.port) as reached:
        assert reached.address == f"127.0.0.1:{redis_server.port}"
