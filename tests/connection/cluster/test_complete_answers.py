"""A cluster that loses a part, or moves slots, answers wholly or not at all.

Played back from real clusters of three primaries, with 20 documents in the index "a".
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from playback import (
    COUNT,
    EMPTY,
    FULL_PAGE,
    GONE,
    KILLED,
    LAST_PAGE,
    MIGRATING,
    SEARCH,
    bulk,
    later,
    once,
)

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.documents.keys import Keys
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    FiftyOneRedisError,
    IncompleteResultError,
)

SCHEMA = Schema("a", 4)


def pages(client):
    return list(Keys(client, SCHEMA).read_pages())


def searches(client, count=3):
    requests = [wire.pack_queries([SEARCH], [number]) for number in range(count)]
    return [(number, reply) for [number], [reply] in client.exchange(requests)]


QUESTIONS = {
    "search": lambda client: client.execute(*SEARCH),
    "count": lambda client: client.execute(*COUNT),
    "describe": lambda client: VectorIndex.open(client, "a"),
    "list": lambda client: client.execute("FT._LIST"),
    "many searches": searches,
    "all ids": pages,
    "existence": lambda client: VectorIndex.exists(client, "nope"),
}


@pytest.fixture(params=QUESTIONS)
def question(request):
    return QUESTIONS[request.param]


def test_a_cluster_that_is_well_answers(played, cluster_client, asked):
    played.answer(
        lambda words: words[:2] == ["FT.AGGREGATE", "a"] and "WITHCURSOR" in words, FULL_PAGE
    )
    played.answer(lambda words: words[:2] == ["FT.CURSOR", "READ"], FULL_PAGE, LAST_PAGE)
    assert cluster_client.execute(*SEARCH)[b"total_results"] > 0
    assert len(VectorIndex.open(cluster_client, "a")) == 20
    assert [number for number, _ in searches(cluster_client, 20)] == list(range(20))
    assert all(reply[b"results"] for _, reply in searches(cluster_client))
    assert pages(cluster_client) == [{}, {}, {}]
    assert not VectorIndex.exists(cluster_client, "nope")


def test_an_answer_costs_one_look_at_the_cluster(played, cluster_client, asked):
    cluster_client.execute(*SEARCH)
    before = [node.counts["CLUSTER"] for node in played.nodes]
    for _ in range(10):
        cluster_client.execute(*SEARCH)
    assert [node.counts["CLUSTER"] for node in played.nodes] == [count + 10 for count in before]
    assert asked.counts["SEARCH.CLUSTERINFO"] == 13
    searches(cluster_client, 16)
    assert asked.counts["SEARCH.CLUSTERINFO"] == 15


@pytest.mark.parametrize("state", [KILLED, GONE])
def test_a_part_that_is_lost_is_named(played, cluster_client, state, question):
    VectorIndex.open(cluster_client, "a")
    played.state = state
    [lost] = played.dead()
    named = (
        rf"127.0.0.1:{lost.port} \(slots {played.slots(lost)[0]}\) does not answer.*replica take"
    )
    with pytest.raises(ConnectionFailedError, match=named):
        question(cluster_client)


def test_the_size_of_an_index_of_which_a_part_is_lost_is_an_error(played, cluster_client):
    index = VectorIndex.open(cluster_client, "a")
    played.state = GONE
    with pytest.raises(ConnectionFailedError, match="cannot answer from all of its documents"):
        len(index)


@pytest.mark.parametrize("told", [b"%0\r\n", b"%1\r\n+num_docs\r\n:-4\r\n"])
def test_a_size_that_cannot_be_is_an_error(played, cluster_client, told):
    index = VectorIndex.open(cluster_client, "a")
    played.answer(lambda words: words[0] == "FT.INFO", told)
    with pytest.raises(IncompleteResultError, match="num_docs"):
        len(index)


def test_a_part_that_comes_back_in_time_is_waited_for(played, cluster_client, question):
    played.answer(lambda words: "WITHCURSOR" in words, LAST_PAGE)
    cluster_client.retry = RetryPolicy(20, 10)
    played.state = GONE
    later(0.3, lambda: setattr(played, "state", "as it should be"))
    question(cluster_client)


def test_slots_on_the_move_are_waited_for(played, cluster_client, question):
    played.answer(lambda words: "WITHCURSOR" in words, LAST_PAGE)
    played.state = MIGRATING
    with pytest.raises(ConnectionFailedError, match=r"slots are on the move at 127.*try again"):
        question(cluster_client)
    cluster_client.retry = RetryPolicy(20, 10)
    later(0.3, lambda: setattr(played, "state", "as it should be"))
    question(cluster_client)


def test_slots_that_begin_to_move_during_a_search_make_it_be_asked_again(
    played, cluster_client, asked
):
    cluster_client.execute(*SEARCH)
    cluster_client.retry = RetryPolicy(20, 10)
    played.answer(once("FT.SEARCH", lambda: setattr(played, "state", MIGRATING)))
    later(0.3, lambda: setattr(played, "state", "as it should be"))
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert sum(node.counts["FT.SEARCH"] for node in played.nodes) >= 3


def test_a_primary_that_ends_and_is_back_during_a_search_makes_it_be_asked_again(
    played, cluster_client, asked
):
    cluster_client.execute(*SEARCH)
    victim = next(node for node in played.nodes if node is not asked)
    cluster_client.retry = RetryPolicy(20, 10)

    def restart():
        victim.die()
        victim.restart()

    played.answer(once("FT.SEARCH", restart))
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert sum(node.counts["FT.SEARCH"] for node in played.nodes) == 3


def test_a_primary_that_is_replaced_during_a_search_makes_it_be_asked_again(
    played, cluster_client, asked
):
    cluster_client.execute(*SEARCH)
    cluster_client.retry = RetryPolicy(20, 10)

    def new_epoch(words, reply):
        return reply.replace(b" 11 connected", b" 99 connected") if "NODES" in words else reply

    played.answer(
        once("FT.SEARCH", lambda: [node.alter(new_epoch) for node in played.nodes] and None)
    )
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert sum(node.counts["FT.SEARCH"] for node in played.nodes) == 3


def test_a_cluster_that_only_changed_need_not_be_repaired(played, cluster_client, asked):
    cluster_client.execute(*SEARCH)
    cluster_client.retry = RetryPolicy(0, 10)

    def new_epoch(words, reply):
        return reply.replace(b" 11 connected", b" 99 connected") if "NODES" in words else reply

    played.answer(
        once("FT.SEARCH", lambda: [node.alter(new_epoch) for node in played.nodes] and None)
    )
    with pytest.raises(ConnectionFailedError, match="changed during the query; try again"):
        cluster_client.execute(*SEARCH)


def test_a_primary_that_started_this_moment_is_given_time(played, cluster_client):
    young, old = bulk("uptime_in_seconds:0\r\n"), bulk("uptime_in_seconds:9\r\n")
    played.answer(lambda words: words[0] == "INFO", young)
    with pytest.raises(ConnectionFailedError, match="started 0 s ago; try again"):
        cluster_client.execute(*SEARCH)
    played.answer(lambda words: words[0] == "INFO", old)
    assert cluster_client.execute(*SEARCH)[b"results"]


def test_pages_of_a_cursor_begin_anew_when_the_cluster_changes(played, cluster_client):
    cluster_client.retry = RetryPolicy(20, 10)
    opened = []

    def opens(words):
        if "WITHCURSOR" in words:
            opened.append(words)
        return "WITHCURSOR" in words

    played.answer(opens, FULL_PAGE)
    played.answer(lambda words: words[:2] == ["FT.CURSOR", "READ"], LAST_PAGE)
    played.answer(once("FT.CURSOR", lambda: setattr(played, "state", MIGRATING)))
    later(0.3, lambda: setattr(played, "state", "as it should be"))
    assert pages(cluster_client) == [{}, {}, {}]
    assert len(opened) == 2


@pytest.mark.parametrize(
    "said", ["Query requires unavailable slots", "SEARCH_SLOTS_UNAVAIL Query requires", "TRYAGAIN "]
)
def test_what_passes_is_asked_again(played, cluster_client, said):
    cluster_client.retry = RetryPolicy(20, 10)
    played.answer(lambda words: words[0] == "FT.SEARCH", f"-{said}\r\n".encode(), EMPTY)
    assert cluster_client.execute(*SEARCH)[b"results"] == []
    played.answer(lambda words: words[0] == "FT.SEARCH", f"-{said}\r\n".encode(), EMPTY)
    assert len(searches(cluster_client)) == 3


def test_nothing_is_made_or_dropped_while_a_part_is_lost(played, cluster_client):
    played.state = KILLED
    for command in [["FT.CREATE", "c", "SCHEMA", "t", "TAG"], ["FT.DROPINDEX", "a"]]:
        with pytest.raises(ConnectionFailedError, match="does not answer"):
            cluster_client.execute(*command)
        assert not any(node.counts[command[0]] for node in played.nodes)


def test_indexes_are_made_while_slots_move(played, cluster_client):
    played.answer(lambda words: words[0] == "FT.CREATE", b"+OK\r\n")
    played.state = MIGRATING
    assert cluster_client.execute("FT.CREATE", "c", "SCHEMA", "t", "TAG") == b"OK"


def refuse(played, *command):
    """Has the nodes refuse this user a command."""
    said = f"-NOPERM User x has no permissions to run the '{'|'.join(command)}' command\r\n"
    played.answer(lambda words: tuple(words[: len(command)]) == command, said.encode())


@pytest.mark.parametrize("command", [("SEARCH.CLUSTERINFO",), ("CLUSTER", "NODES")])
def test_a_user_who_may_not_look_at_the_cluster_is_told_what_is_needed(
    played, cluster_client, command
):
    refuse(played, *command)
    with pytest.raises(AuthenticationError, match=re.escape("|".join(command))):
        cluster_client.execute(*SEARCH)


def test_a_user_who_may_look_at_nothing_else_gets_answers(played, cluster_client):
    for command in [("INFO",), ("CLUSTER", "SHARDS"), ("FT._LIST",), ("FT.EXPLAIN",)]:
        refuse(played, *command)
    assert cluster_client.execute(*SEARCH)[b"results"]
    assert not VectorIndex.exists(cluster_client, "nope")


def test_nodes_that_a_service_manages_are_not_looked_at(played, cluster_client):
    told = b"%2\r\n+num_partitions\r\n:1\r\n+cluster_type\r\n+redislabs\r\n"
    played.answer(lambda words: words[0] == "SEARCH.CLUSTERINFO", told)
    assert cluster_client.execute(*SEARCH)[b"results"]


def test_threads_get_whole_answers_or_errors(played, cluster_client):
    whole_answer = cluster_client.execute(*COUNT)

    def work(_):
        try:
            return cluster_client.execute(*COUNT)
        except FiftyOneRedisError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(work, range(200))
        time.sleep(0.05)
        played.state = GONE
        time.sleep(0.8)
        played.state = "as it should be"
        found = list(answers)
    odd = [e for e in found if isinstance(e, Exception) and type(e) is not ConnectionFailedError]
    assert not odd, odd[:3]
    assert {type(each) for each in found} == {type(whole_answer), ConnectionFailedError}
    assert all(each == whole_answer for each in found if not isinstance(each, Exception))


def test_connections_come_back(played, cluster_client):
    for node in cluster_client.list_primaries():
        node.connection_pool.max_connections = 1
    for state in [GONE, MIGRATING]:
        played.state = state
        for _ in range(2):
            with pytest.raises(ConnectionFailedError, match="cannot answer from all"):
                searches(cluster_client)
    played.state = "as it should be"
    cluster_client.retry = RetryPolicy(20, 10)
    for _ in range(3):
        assert len(searches(cluster_client)) == 3


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
    view = topology.read_state("1.1.1.1:1", searched, nodes_told)
    assert list(view.lost) == lost
    assert view.is_complete == (not lost)
