"""What a test can ask of the server that it runs on, and what is said where that is missing."""

import pytest
from server_under_test import ServerUnderTest, set_search_limit

STACK = ServerUnderTest(
    server="Redis 7.4.1, search 2.10.5",
    engine=(2, 10, 5),
    json=True,
    svs=False,
    int8=False,
    tls=True,
    coordinator=False,
    clustered=False,
    socket=True,
    bare=True,
)


@pytest.mark.parametrize(
    "need", ["json", "no svs", "engine<8", "engine>=2.10", "engine==2.10", "engine==2.10.5"]
)
def test_what_the_server_has_lets_a_test_run(need):
    assert STACK.lacks(need) is None


@pytest.mark.parametrize(
    ("need", "reason"),
    [
        ("coordinator", "Redis 7.4.1, search 2.10.5 does not have a coordinator"),
        ("no json", "Redis 7.4.1, search 2.10.5 has RedisJSON"),
        ("engine>=8.6", "needs engine>=8.6, but this is Redis 7.4.1, search 2.10.5"),
        ("engine<2.10", "needs engine<2.10, but this is Redis 7.4.1"),
        ("engine==2.10.6", "needs engine==2.10.6, but this is"),
    ],
)
def test_what_the_server_lacks_is_the_reason_why_a_test_is_skipped(need, reason):
    assert STACK.lacks(need).startswith(reason)


@pytest.mark.parametrize("need", ["jason", "engine", "engine>8", "no engine<8", "server", ""])
def test_a_need_that_nobody_knows_fails_the_test(need):
    with pytest.raises(ValueError, match="Nothing is known of the need"):
        STACK.lacks(need)


def test_the_running_server_is_described(server_under_test):
    assert server_under_test.engine >= (2, 6)
    assert server_under_test.lacks("engine>=2.6") is None
    assert not server_under_test.clustered


def test_a_limit_of_the_query_engine_is_set_and_what_it_was_is_returned(client):
    usual = set_search_limit(client, "max-search-results", 77)
    assert set_search_limit(client, "max-search-results", usual) == "77"
    assert set_search_limit(client, "max-search-results", usual) == usual
