"""What a cluster that loses a part, moves slots or hangs leads to; played back from real ones.

The clusters had three primaries, and 20 documents in the index "a".
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from playback import GONE, KILLED, MIGRATING, Playback, PlaybackCluster, bulk, unused_port

from fiftyone_redis.engine import (
    VectorIndex,
    cluster,
    cluster_view,
    connect,
    deadline,
    keys,
    protocol,
    whole,
)
from fiftyone_redis.engine.connection import execute
from fiftyone_redis.engine.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
)
from fiftyone_redis.engine.partial import explain_missing
from fiftyone_redis.engine.pipeline import exchange
from fiftyone_redis.engine.retry import Retries
from fiftyone_redis.engine.schema import Schema

RECORDINGS = Path(__file__).parent / "recordings"
SEARCH = ["FT.SEARCH", "a", "*", "NOCONTENT", "LIMIT", 0, 10]
COUNT = ["FT.AGGREGATE", "a", "*", "GROUPBY", "0", "REDUCE", "COUNT", "0"]
SCHEMA = Schema("a", 4)
NOT_FOUND = b"-SEARCH_INDEX_NOT_FOUND Index not found: docs\r\n"
LOST = (KILLED, GONE)
EXISTS = b"-SEARCH_INDEX_EXISTS Index already exists\r\n"
FEW = (
    b"%5\r\n+attributes\r\n*0\r\n+warning\r\n*0\r\n+total_results\r\n:0\r\n+format\r\n+STRING\r\n"
    b"+results\r\n*0\r\n"
)
PAGE = b"*2\r\n%b:7\r\n" % FEW
LAST_PAGE = b"*2\r\n%b:0\r\n" % FEW


@pytest.fixture(params=["8.6.8", "8.8.0"])
def nodes(request, monkeypatch):
    """The primaries of a cluster that is well, of one of two query engines."""
    monkeypatch.setattr(whole, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "_PREFERRED", 0)
    recording = RECORDINGS / f"redis-8.8-search-{request.param}-cluster-of-3.json"
    with PlaybackCluster(recording) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def counted(request):
    """Has the cluster count documents, which was not recorded while it was well."""
    if "nodes" in request.fixturenames:
        nodes = request.getfixturevalue("nodes")
        nodes.answer(lambda words: words[0] == "FT.AGGREGATE" and nodes.state not in LOST, FEW)


@pytest.fixture
def client(nodes):
    """A client of that cluster, which is patient for half a second."""
    with connect(host="127.0.0.1", port=nodes.nodes[1].port, retry_timeout=0.5) as client:
        yield client


@pytest.fixture
def asked(nodes, client) -> Playback:
    """The node that the client asks first."""
    return node_of(nodes, cluster.node(client, 0))


@pytest.fixture
def server(monkeypatch):
    """One server, and no time to spare beyond a query's own limit."""
    monkeypatch.setattr(deadline, "MARGIN", 0.2)
    monkeypatch.setattr(deadline, "QUICK", 0.2)
    with Playback(RECORDINGS / "redis-8.8-search-8.8.0-cluster-of-3.json") as server:
        yield server


@contextmanager
def alone(server, **options):
    """A client of one server, which is patient."""
    with connect(host="127.0.0.1", port=server.port, cluster=False, **options) as client:
        yield client


def node_of(nodes, client_node) -> Playback:
    port = client_node.connection_pool.connection_kwargs["port"]
    return next(node for node in nodes.nodes if node.port == port)


def once(name: str, work: Callable[[], None]) -> Callable[[list[str]], bool]:
    """Does something when a command comes for the first time, before it is answered."""
    left = [work]

    def matches(words: list[str]) -> bool:
        if words[0] == name and left:
            left.pop()()
        return False

    return matches


def later(seconds: float, work: Callable[[], None]) -> None:
    threading.Timer(seconds, work).start()


def pages(client):
    return list(keys.pages(client, SCHEMA))


def searches(client, count=3):
    requests = [(protocol.pack(SEARCH), [number]) for number in range(count)]
    return [(number, reply) for [number], [reply] in exchange(client, requests)]


QUESTIONS = {
    "search": lambda client: execute(client, *SEARCH),
    "count": lambda client: execute(client, *COUNT),
    "describe": lambda client: VectorIndex.open(client, "a"),
    "list": lambda client: execute(client, "FT._LIST"),
    "many searches": searches,
    "all ids": pages,
    "existence": lambda client: VectorIndex.exists(client, "nope"),
}


@pytest.fixture(params=QUESTIONS)
def question(request):
    return QUESTIONS[request.param]


def test_a_cluster_that_is_well_answers(nodes, client, asked):
    nodes.answer(lambda words: words[:2] == ["FT.AGGREGATE", "a"] and "WITHCURSOR" in words, PAGE)
    nodes.answer(lambda words: words[:2] == ["FT.CURSOR", "READ"], PAGE, LAST_PAGE)
    assert execute(client, *SEARCH)[b"total_results"] > 0
    assert len(VectorIndex.open(client, "a")) == 20
    assert [number for number, _ in searches(client, 20)] == list(range(20))
    assert all(reply[b"results"] for _, reply in searches(client))
    assert pages(client) == [{}, {}, {}]
    assert not VectorIndex.exists(client, "nope")


def test_an_answer_costs_one_look_at_the_cluster(nodes, client, asked):
    execute(client, *SEARCH)
    before = [node.counts["CLUSTER"] for node in nodes.nodes]
    for _ in range(10):
        execute(client, *SEARCH)
    assert [node.counts["CLUSTER"] for node in nodes.nodes] == [count + 10 for count in before]
    assert asked.counts["SEARCH.CLUSTERINFO"] == 12
    searches(client, 16)
    assert asked.counts["SEARCH.CLUSTERINFO"] == 14


@pytest.mark.parametrize("state", [KILLED, GONE])
def test_a_part_that_is_lost_is_named(nodes, client, state, question):
    VectorIndex.open(client, "a")
    nodes.state = state
    [lost] = nodes.dead()
    named = rf"127.0.0.1:{lost.port} \(slots {nodes.slots(lost)[0]}\) does not answer.*replica take"
    with pytest.raises(ConnectionFailedError, match=named):
        question(client)


def test_the_size_of_an_index_of_which_a_part_is_lost_is_an_error(nodes, client):
    index = VectorIndex.open(client, "a")
    nodes.state = GONE
    with pytest.raises(ConnectionFailedError, match="cannot answer from all of its documents"):
        len(index)


@pytest.mark.parametrize("told", [b"%0\r\n", b"%1\r\n+num_docs\r\n:-4\r\n"])
def test_a_size_that_cannot_be_is_an_error(nodes, client, told):
    index = VectorIndex.open(client, "a")
    nodes.answer(lambda words: words[0] == "FT.INFO", told)
    with pytest.raises(IncompleteResultError, match="num_docs"):
        len(index)


def test_a_part_that_comes_back_in_time_is_waited_for(nodes, client, question):
    nodes.answer(lambda words: "WITHCURSOR" in words, LAST_PAGE)
    client.retry = Retries(20, 10)
    nodes.state = GONE
    later(0.3, lambda: setattr(nodes, "state", "as it should be"))
    question(client)


def test_slots_on_the_move_are_waited_for(nodes, client, question):
    nodes.answer(lambda words: "WITHCURSOR" in words, LAST_PAGE)
    nodes.state = MIGRATING
    with pytest.raises(ConnectionFailedError, match=r"slots are on the move at 127.*repeat"):
        question(client)
    client.retry = Retries(20, 10)
    later(0.3, lambda: setattr(nodes, "state", "as it should be"))
    question(client)


def test_slots_that_begin_to_move_during_a_search_make_it_be_asked_again(nodes, client, asked):
    execute(client, *SEARCH)
    client.retry = Retries(20, 10)
    nodes.answer(once("FT.SEARCH", lambda: setattr(nodes, "state", MIGRATING)))
    later(0.3, lambda: setattr(nodes, "state", "as it should be"))
    assert execute(client, *SEARCH)[b"results"]
    assert asked.counts["FT.SEARCH"] + sum(n.counts["FT.SEARCH"] for n in nodes.nodes) > 3


def test_a_primary_that_ends_and_is_back_during_a_search_makes_it_be_asked_again(
    nodes, client, asked
):
    execute(client, *SEARCH)
    victim = next(node for node in nodes.nodes if node is not asked)
    client.retry = Retries(20, 10)

    def restart():
        victim.die()
        victim.restart()

    nodes.answer(once("FT.SEARCH", restart))
    assert execute(client, *SEARCH)[b"results"]
    assert sum(node.counts["FT.SEARCH"] for node in nodes.nodes) == 3


def test_a_primary_that_is_replaced_during_a_search_makes_it_be_asked_again(nodes, client, asked):
    execute(client, *SEARCH)
    client.retry = Retries(20, 10)

    def new_epoch(words, reply):
        return reply.replace(b" 11 connected", b" 99 connected") if "NODES" in words else reply

    nodes.answer(
        once("FT.SEARCH", lambda: [node.alter(new_epoch) for node in nodes.nodes] and None)
    )
    assert execute(client, *SEARCH)[b"results"]
    assert sum(node.counts["FT.SEARCH"] for node in nodes.nodes) == 3


def test_a_primary_that_started_this_moment_is_given_time(nodes, client):
    young, old = bulk("uptime_in_seconds:0\r\n"), bulk("uptime_in_seconds:9\r\n")
    nodes.answer(lambda words: words[0] == "INFO", young)
    with pytest.raises(ConnectionFailedError, match="started 0 s ago"):
        execute(client, *SEARCH)
    nodes.answer(lambda words: words[0] == "INFO", old)
    assert execute(client, *SEARCH)[b"results"]


def test_pages_of_a_cursor_begin_anew_when_the_cluster_changes(nodes, client):
    client.retry = Retries(20, 10)
    opened = []

    def opens(words):
        if "WITHCURSOR" in words:
            opened.append(words)
        return "WITHCURSOR" in words

    nodes.answer(opens, PAGE)
    nodes.answer(lambda words: words[:2] == ["FT.CURSOR", "READ"], LAST_PAGE)
    nodes.answer(once("FT.CURSOR", lambda: setattr(nodes, "state", MIGRATING)))
    later(0.3, lambda: setattr(nodes, "state", "as it should be"))
    assert pages(client) == [{}, {}, {}]
    assert len(opened) == 2


@pytest.mark.parametrize(
    "said", ["Query requires unavailable slots", "SEARCH_SLOTS_UNAVAIL Query requires", "TRYAGAIN "]
)
def test_what_passes_is_asked_again(nodes, client, said):
    nodes.answer(lambda words: words[0] == "FT.SEARCH", f"-{said}\r\n".encode(), FEW)
    assert execute(client, *SEARCH)[b"results"] == []
    nodes.answer(lambda words: words[0] == "FT.SEARCH", f"-{said}\r\n".encode(), FEW)
    assert len(searches(client)) == 3


def test_nothing_is_made_or_dropped_while_a_part_is_lost(nodes, client):
    nodes.state = KILLED
    for command in [["FT.CREATE", "c", "SCHEMA", "t", "TAG"], ["FT.DROPINDEX", "a"]]:
        with pytest.raises(ConnectionFailedError, match="does not answer"):
            execute(client, *command)
        assert not any(node.counts[command[0]] for node in nodes.nodes)


def test_indexes_are_made_while_slots_move(nodes, client):
    nodes.answer(lambda words: words[0] == "FT.CREATE", b"+OK\r\n")
    nodes.state = MIGRATING
    assert execute(client, "FT.CREATE", "c", "SCHEMA", "t", "TAG") == b"OK"


def test_a_user_who_may_not_look_at_the_cluster_is_told_what_is_needed(nodes, client):
    said = b"-NOPERM User x has no permissions to run the 'SEARCH.CLUSTERINFO' command\r\n"
    nodes.answer(lambda words: words[0] == "SEARCH.CLUSTERINFO", said)
    with pytest.raises(AuthenticationError, match=r"SEARCH\.CLUSTERINFO"):
        execute(client, *SEARCH)


def test_threads_get_whole_answers_or_errors(nodes, client):
    whole_answer = execute(client, *COUNT)

    def work(_):
        try:
            return execute(client, *COUNT)
        except FiftyOneRedisError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(work, range(200))
        time.sleep(0.05)
        nodes.state = GONE
        time.sleep(0.8)
        nodes.state = "as it should be"
        found = list(answers)
    assert {type(each) for each in found} == {type(whole_answer), ConnectionFailedError}
    assert all(each == whole_answer for each in found if not isinstance(each, Exception))


def test_connections_come_back(nodes, client):
    for node in cluster.primaries(client):
        node.connection_pool.max_connections = 1
    for state in ["as it should be", GONE, MIGRATING, "as it should be"]:
        nodes.state = state
        for _ in range(3):
            with suppress(ConnectionFailedError):
                searches(client)
    assert len(searches(client)) == 3


# Waiting


def test_a_search_waits_for_its_own_time_limit_and_a_little(server):
    server.hang("FT.SEARCH")
    with alone(server) as client:
        for ask in [
            lambda: execute(client, *SEARCH, "TIMEOUT", 100),
            lambda: list(exchange(client, [(protocol.pack([*SEARCH, "TIMEOUT", 100]), [0])])),
        ]:
            server.counts.clear()
            with pytest.raises(ConnectionFailedError, match=r"within 0.3 s.*raise query_timeout"):
                ask()
            assert server.counts["FT.SEARCH"] == 1


@pytest.mark.parametrize("command", [["FT.INFO", "a"], ["FT._LIST"], ["FT.ALIASDEL", "a"]])
def test_a_command_that_takes_no_time_is_not_waited_for_long(server, command):
    server.hang(command[0])
    with alone(server) as client, pytest.raises(ConnectionFailedError, match=r"within 0\.2 s"):
        execute(client, *command)


def test_dropping_documents_may_take_as_long_as_the_connection_waits(server):
    server.hang("FT.DROPINDEX")
    later(0.5, server.go_on)
    with alone(server) as client, pytest.raises(IndexNotFoundError):
        execute(client, "FT.DROPINDEX", "nope", "DD")


def test_pages_are_waited_for_as_long_as_the_query_may_take(server, monkeypatch):
    monkeypatch.setattr(keys, "TIMEOUT_MS", 2000)
    server.answer(lambda words: words[0] == "FT.AGGREGATE", PAGE)
    server.answer(lambda words: words[0] == "FT.CURSOR", LAST_PAGE)
    server.hang("FT.CURSOR")
    later(0.5, server.go_on)
    with alone(server) as client:
        assert pages(client) == [{}, {}]


def test_a_smaller_time_limit_of_the_connection_holds(server):
    server.hang("FT.SEARCH")
    with alone(server, socket_timeout=0.1, retries=1) as client:
        with pytest.raises(ConnectionFailedError, match="Timeout reading"):
            execute(client, *SEARCH, "TIMEOUT", 60_000)
        assert server.counts["FT.SEARCH"] == 2


def with_a_dead_primary(nodes) -> int:
    """Has all nodes list a primary that failed, as before a failover; returns its port."""
    port = unused_port()
    line = f"{'d' * 40} 127.0.0.1:{port}@1 master,fail - 1 1 3 disconnected\n"

    def add_line(words, reply):
        if words != ["CLUSTER", "NODES"]:
            return reply
        text = reply.partition(b"\r\n")[2].decode().removeprefix("txt:")
        return bulk(text.removesuffix("\r\n") + line)

    for node in nodes.nodes:
        node.alter(add_line)
    return port


def test_a_coordinator_that_waits_for_a_dead_node_is_left_for_another(nodes, client, asked):
    client.retry = Retries(20, 10)
    with_a_dead_primary(nodes)
    asked.hang("FT.SEARCH", "FT.AGGREGATE")
    assert execute(client, *SEARCH)[b"results"]
    assert execute(client, *SEARCH)[b"results"]
    assert asked.counts["FT.SEARCH"] == 1
    asked.go_on()


def test_a_dead_node_for_which_all_coordinators_wait_is_named(nodes, client):
    port = with_a_dead_primary(nodes)
    for node in nodes.nodes:
        node.hang("FT.SEARCH")
    named = f"does not answer queries while 127.0.0.1:{port} has failed; bring that back"
    with pytest.raises(ConnectionFailedError, match=named):
        execute(client, *SEARCH)


def test_a_coordinator_is_left_when_another_primary_dies(nodes, client, asked):
    asked.hang("FT.SEARCH")
    victim = next(node for node in nodes.nodes if node is not asked)
    later(0.3, victim.die)
    with pytest.raises(ConnectionFailedError, match=rf"127.0.0.1:{victim.port} .*does not answer"):
        execute(client, *SEARCH)
    asked.go_on()


def test_a_coordinator_that_is_busy_is_waited_for(nodes, client, asked):
    asked.hang("FT.SEARCH")
    later(1.5, asked.go_on)
    assert execute(client, *SEARCH)[b"results"]


def test_a_server_that_takes_connections_and_says_nothing_is_said_soon(listening_port):
    with pytest.raises(ConnectionFailedError, match="did not answer in time"):
        connect(host="127.0.0.1", port=listening_port, socket_connect_timeout=0.2)


def test_a_fresh_client_passes_nodes_over_that_say_nothing(nodes):
    first, second, _ = nodes.nodes
    first.hang()
    began = time.monotonic()
    with connect(
        host="127.0.0.1", port=second.port, socket_connect_timeout=0.2, retry_timeout=0.2
    ) as client:
        assert len(cluster.primaries(client)) == 3
        with pytest.raises(ConnectionFailedError, match=f"127.0.0.1:{first.port}.*does not answer"):
            execute(client, *SEARCH)
        with cluster.decoding(client) as speaking:
            assert isinstance(speaking, redis.RedisCluster)
    assert time.monotonic() - began < 30
    first.go_on()


# Indexes that some nodes lack


def lists(node: Playback, kept: list[str]) -> None:
    names = b"".join(b"+%s\r\n" % name.encode() for name in kept)
    node.answer(lambda words: words == ["FT._LIST"], b"*%d\r\n%b" % (len(kept), names))


def partial_index(nodes, index: str) -> Playback:
    """Makes an index exist on all nodes but the last, which is returned."""
    *having, lacking = nodes.nodes
    for node in having:
        lists(node, ["a", "b", index])
    nodes.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    nodes.answer(lambda words: words[:2] == ["FT.CREATE", "docs"], EXISTS)
    nodes.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    return lacking


@pytest.mark.parametrize("name", ["docs", "docs~7f3a"])
def test_an_index_that_a_node_lacks_is_named_with_what_repairs_it(nodes, client, name):
    lacking = partial_index(nodes, name)
    named = rf"{name}' exists on some nodes.*not on 127.0.0.1:{lacking.port};.*FT.DROPINDEX {name}`"
    with pytest.raises(IndexMismatchError, match=named):
        VectorIndex.open(client, "docs")
    with pytest.raises(IndexMismatchError, match=named):
        VectorIndex.exists(client, "docs")
    with pytest.raises(IndexMismatchError, match=named):
        execute(client, "FT.CREATE", "docs", "SCHEMA", "t", "TAG")


def test_an_alias_that_a_node_lacks_is_named_with_what_repairs_it(nodes, client):
    for node in nodes.nodes:
        lists(node, ["a", "docs~7f3a"])
    nodes.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    *having, lacking = nodes.nodes
    lacking.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    for node in having:
        node.answer(lambda words: words[0] == "FT.EXPLAIN", bulk("*"))
    with pytest.raises(
        IndexMismatchError,
        match=rf"alias 'docs' .* not on 127.0.0.1:{lacking.port};.*FT.ALIASUPDATE docs docs~7f3a`",
    ):
        VectorIndex.open(client, "docs")


def test_an_index_that_no_node_has_does_not_exist(nodes, client):
    nodes.answer(lambda words: words[:2] == ["FT.INFO", "docs"], NOT_FOUND)
    nodes.answer(lambda words: words[0] == "FT.EXPLAIN", NOT_FOUND)
    assert not VectorIndex.exists(client, "docs")
    assert explain_missing(client, "docs") is None


def test_an_index_that_a_node_lacks_can_be_dropped(nodes, client):
    partial_index(nodes, "docs")
    nodes.answer(lambda words: words[:2] == ["FT.DROPINDEX", "docs"], b"+OK\r\n")
    assert execute(client, "FT.DROPINDEX", "docs") == b"OK"


# Views


NODE_A = "aa 1.1.1.1:1@2,host myself,master - 0 0 7 connected 0-8191 [5->-bb]"
NODE_B = "bb 1.1.1.2:1@2 myself,master - 0 0 8 connected 8192-16383"


def shards(*each):
    return {b"shards": [[b"slots", s, b"id", i, b"host", h, b"port", 1] for i, h, s in each]}


BOTH = shards((b"aa", b"1.1.1.1", [0, 100, 101, 8191]), (b"bb", b"1.1.1.2", [8192, 16383]))


@pytest.mark.parametrize(
    ("searched", "nodes_told", "lost"),
    [
        (BOTH, {"1.1.1.1:1": NODE_A[:-9], "1.1.1.2:1": NODE_B}, []),
        (
            shards((b"aa", b"1.1.1.1", [0, 8191])),
            {"1.1.1.1:1": NODE_A, "1.1.1.2:1": NODE_B},
            [
                "1.1.1.2:1 (slots 8192-16383) is not searched by 1.1.1.1:1",
            ],
        ),
        (
            BOTH,
            {"1.1.1.1:1": NODE_A, "1.1.1.2:1": NODE_B.replace("8192-", "")},
            ["1.1.1.2:1 (slots 16383) is searched by 1.1.1.1:1 as 1.1.1.2:1 (slots 8192-16383)"],
        ),
        (
            BOTH,
            {"1.1.1.1:1": NODE_A, "1.1.1.2:1": NODE_B.replace("master", "slave")},
            ["1.1.1.2:1 (slots 8192-16383) is searched by 1.1.1.1:1, and is no primary"],
        ),
        (
            shards((b"aa", b"1.1.1.1", [0, 8191])),
            {"1.1.1.1:1": NODE_A},
            ["slots 8192-16383 belong to no node that answers"],
        ),
    ],
)
def test_a_view_tells_what_is_lost(searched, nodes_told, lost):
    view = cluster_view.read("1.1.1.1:1", searched, nodes_told)
    assert list(view.lost) == lost
    assert view.is_complete == (not lost)
