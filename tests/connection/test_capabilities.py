"""What servers can do: as recorded, as documented, and as the running one says."""

import gc
import subprocess
import weakref
from dataclasses import replace

import pytest
import redis
from recorded import reply
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from fiftyone_redis import server
from fiftyone_redis.connection import capabilities as module
from fiftyone_redis.connection.capabilities import (
    Capabilities,
    check_server,
    parse_replies,
)
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.pool import WITHOUT_NOTIFICATIONS
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.protocol.requirements import require_support
from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES
from fiftyone_redis.errors import ConnectionFailedError, ServerError, UnsupportedServerError
from fiftyone_redis.server.program import build_command, build_environment

RESP3 = {"protocol": 3, **WITHOUT_NOTIFICATIONS}

STACK = "redis-stack-7.4.1-search-2.10.5"
REDIS_8 = "redis-8.6.3-search-8.6.7"
CLUSTER = "redis-8.6.3-search-8.6.7-cluster-of-3"
REDIS_8_8 = "redis-8.8-search-8.8.0"
WITHOUT_SVS = ["redis-8.8-search-8.6.8", REDIS_8_8, f"{REDIS_8_8}-cluster-of-3"]
SVS = Schema("wanted", 4, algorithm="SVS-VAMANA")


class Svs(Server):
    """A client of Redis 8 that answers FT.CREATE and FT.DROPINDEX as it is told to."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer, self.asked = answer, []
        self.known_capabilities = of_recorded(REDIS_8, 3)

    def execute_command(self, *command, **_options):
        self.asked.append(command)
        if command[0] == "FT.CREATE" and isinstance(self.answer, Exception):
            raise self.answer
        return b"OK"


@pytest.fixture
def started(tmp_path, unused_port):
    """Starts another server with the query engine and certain options; gives a client of it."""
    processes, clients = [], []

    def started(*options: str) -> Server:
        program = server.find_program()
        settings = {"port": str(unused_port()), "bind": "127.0.0.1", "save": ""}
        processes.append(
            subprocess.Popen(
                [*build_command(program, settings), *options],
                cwd=tmp_path,
                env=build_environment(program, tmp_path),
                stdout=subprocess.DEVNULL,
            )
        )
        where = {"host": "127.0.0.1", "port": settings["port"], "protocol": 2}
        patience = Retry(ConstantBackoff(0.02), 500, (OSError, redis.ConnectionError))
        with redis.Redis(**where, retry=patience) as patient:
            assert patient.ping()
        clients.append(Server(**where, retry=Retry(NoBackoff(), 0)))
        return clients[-1]

    yield started
    for client in clients:
        client.close()
    for process in processes:
        process.kill()
        process.wait()


def of_recorded(name: str, resp: int) -> Capabilities:
    return parse_replies(module._to_dict(reply(name, resp, "HELLO")))


def of_search(name: str, number: int, **hello) -> Capabilities:
    """Returns what is made of a server with a module of that name and version."""
    said = {"server": "redis", "version": "7.2", "proto": 3, "mode": "standalone", **hello}
    return parse_replies({**said, "modules": [{"name": name, "ver": number}]})


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    ("server", "line"),
    [
        (STACK, "Redis 7.4.1, search 2.10.5, RESP{}, standalone"),
        (REDIS_8, "Redis 8.6.3, search 8.6.7, RESP{}, standalone"),
        (CLUSTER, "Redis 8.6.3, search 8.6.7, RESP{}, cluster"),
    ],
)
def test_a_server_is_described_in_one_line(server, resp, line):
    assert str(of_recorded(server, resp)) == line.format(resp)


def test_redis_8_offers_more_types_and_algorithms():
    stack, redis_8 = of_recorded(STACK, 3), of_recorded(REDIS_8, 3)
    assert set(redis_8.dtypes) - set(stack.dtypes) == {"int8", "uint8"}
    assert set(redis_8.algorithms) - set(stack.algorithms) == {"SVS-VAMANA"}


@pytest.mark.parametrize("server", [REDIS_8, CLUSTER])
def test_redis_8_has_a_coordinator(server):
    assert of_recorded(server, 2).coordinator
    assert reply(server, 2, "COMMAND", "INFO")[2] is not None


def test_an_older_module_has_a_coordinator_if_it_knows_its_command():
    hello = module._to_dict(reply(STACK, 3, "HELLO")) | {"mode": "cluster"}
    search, _, unknown, _, _ = reply(STACK, 3, "COMMAND", "INFO")
    known = reply(CLUSTER, 3, "COMMAND", "INFO")[2]
    assert not parse_replies(hello, commands=[search, unknown]).coordinator
    assert parse_replies(hello, commands=[search, known]).coordinator


@pytest.mark.parametrize(
    ("number", "version", "dtypes"),
    [
        (20405, "2.4.5", {"float32"}),
        (20819, "2.8.19", {"float32", "float64"}),
        (80005, "8.0.5", set(DTYPES)),
    ],
)
def test_the_version_of_the_module_tells_the_types(number, version, dtypes):
    found = of_search("search", number)
    assert (found.search, set(found.dtypes)) == (version, dtypes)


def test_the_module_of_managed_services_has_another_name():
    assert of_search("searchlight", 21005).search == "2.10.5"


def test_a_server_that_hides_its_modules_is_known_by_its_commands():
    hello = {"server": "redis", "version": "7.4.0", "proto": 3, "mode": "standalone"}
    found = parse_replies(hello, None, [[b"ft.search"], None])
    assert found.search == "unknown"


def test_a_server_that_refuses_hello_is_known_by_what_else_it_says():
    info = {"redis_version": "6.0.20", "redis_mode": "standalone"}
    found = parse_replies(None, reply(STACK, 2, "MODULE", "LIST"), None, info)
    assert str(found) == "Redis 6.0.20, search 2.10.5, RESP2, standalone"


def test_a_server_that_says_nothing_is_not_known_to_lack_anything_or_to_have_it():
    found = parse_replies(None)
    assert str(found) == "Unknown unknown, search unknown, RESP2, standalone"


@pytest.mark.needs("engine==2.10.5")
def test_the_running_server_offers_what_it_is_known_to(client):
    found = client.get_capabilities()
    assert found == of_recorded(STACK, 3)


def test_a_client_of_another_kind_is_told_the_same(speaker, redis_server):
    with Server.from_url(redis_server.url, decode_responses=True, **RESP3) as text:
        assert speaker.get_capabilities().dtypes == text.get_capabilities().dtypes


def test_a_server_that_does_not_know_hello_is_asked_for_what_else_it_says(started):
    found = started("--rename-command", "HELLO", "").get_capabilities()
    with started() as alike:
        assert found == replace(alike.get_capabilities(), resp=2)


@pytest.mark.needs("no coordinator")
def test_a_node_of_a_cluster_without_coordinator_is_refused(started, unused_port):
    bus = ("--cluster-port", str(unused_port()))  # the usual one may be too large a number
    with pytest.raises(UnsupportedServerError, match="RESP2, cluster without coordinator"):
        check_server(started("--cluster-enabled", "yes", *bus).get_capabilities())


def test_a_server_that_is_gone_has_its_error(started):
    client = started()
    client.shutdown(nosave=True)
    with pytest.raises(ConnectionFailedError, match=r"No Redis answers at 127\.0\.0\.1:\d+"):
        client.get_capabilities()
    with pytest.raises(redis.ConnectionError):
        client.fetch_capabilities()


def test_a_server_is_asked_once(client, redis_server):
    with Server.from_url(redis_server.url, **RESP3) as asking:
        asking.ping()
        before = hellos(client)
        assert asking.get_capabilities() is asking.get_capabilities()
        assert hellos(client) == before + 1


def test_a_client_is_not_kept_alive_by_what_is_known_of_its_server(redis_server):
    with Server.from_url(redis_server.url) as asking:
        asking.get_capabilities()
        alive = weakref.ref(asking)
    del asking
    gc.collect()
    assert alive() is None


def test_a_user_without_any_rights_learns_what_the_server_can_do(client, redis_server):
    client.execute_command("ACL", "SETUSER", "nobody", "reset", "on", ">nobody")
    url = f"redis://nobody:nobody@127.0.0.1:{redis_server.port}"
    with Server.from_url(url, protocol=3) as nobody:
        assert nobody.get_capabilities() == client.get_capabilities()
    client.execute_command("ACL", "DELUSER", "nobody")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            parse_replies({"server": "redis", "version": "7.4.1"}, [], [None, None]),
            "no query engine",
        ),
        (of_search("search", 21005, mode="cluster"), "cluster without coordinator"),
        # Valkey's search, by its server's name, its first versions, and one written in bytes
        (of_search("search", 80600, server="valkey"), "module that is not RediSearch; use Redis 8"),
        (of_search("search", 10002), "module that is not RediSearch; use Redis 8"),
        (of_search("search", 66048), "module that is not RediSearch; use Redis 8"),
        (parse_replies(None), "does not report the version of its search module; use Redis 8"),
    ],
)
def test_a_server_that_cannot_be_searched_is_refused_in_one_sentence(found, reason):
    with pytest.raises(UnsupportedServerError, match=reason) as refused:
        check_server(found)
    assert str(refused.value).count(". ") == 0


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        pytest.param(
            {"dtype": "uint8"},
            "does not support dtype 'uint8'; use one of float32, float64, float16, bfloat16",
            marks=pytest.mark.needs("no int8"),
        ),
        pytest.param(
            {"algorithm": "SVS-VAMANA"},
            "does not support algorithm 'SVS-VAMANA'; use one of FLAT, HNSW",
            marks=pytest.mark.needs("no svs"),
        ),
    ],
)
def test_an_index_that_the_server_cannot_hold_is_refused_before_anything_is_made(
    client, wanted, reason
):
    with pytest.raises(UnsupportedServerError, match=reason) as refused:
        VectorIndex.create(client, Schema("any", 4, **wanted))
    assert str(client.get_capabilities()) in str(refused.value)
    assert not client.execute_command("FT._LIST")


@pytest.mark.parametrize("server", WITHOUT_SVS)
def test_a_server_that_was_built_without_svs_is_found_out_once(server):
    client = Svs(reply(server, 3, "FT.CREATE", "svs"))
    for _ in range(2):
        with pytest.raises(UnsupportedServerError, match="was built without SVS-VAMANA; use FLAT"):
            require_support(client, SVS)
    assert [command[0] for command in client.asked] == ["FT.CREATE"]
    require_support(client, Schema("wanted", 4, algorithm="HNSW"))


def test_an_index_that_was_made_to_try_svs_is_unlike_others_and_dropped_at_once():
    client = Svs(b"OK")
    require_support(client, SVS)
    require_support(client, SVS)
    [create, drop] = client.asked
    assert create[1].startswith("fiftyone-probe~")
    assert create[create.index("PREFIX") + 2] == f"{create[1]}~:"
    assert drop == ("FT.DROPINDEX", create[1])


def test_another_refusal_of_that_index_is_an_error_and_proves_nothing():
    client = Svs(redis.ResponseError("ERR maybe later"))
    for _ in range(2):
        with pytest.raises(ServerError, match="maybe later"):
            require_support(client, SVS)
    assert len(client.asked) == 2


def test_a_user_who_may_not_try_is_not_kept_from_what_may_be_allowed():
    client = Svs(redis.exceptions.NoPermissionError("NOPERM"))
    require_support(client, SVS)
    assert client.get_capabilities().svs is None


def test_every_type_and_algorithm_has_its_version():
    assert set(module._DTYPES) == set(DTYPES)
    assert set(module._ALGORITHMS) == set(ALGORITHMS)


def hellos(client: redis.Redis) -> int:
    return client.info("commandstats")["cmdstat_hello"]["calls"]
