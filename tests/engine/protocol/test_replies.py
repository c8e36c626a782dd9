"""Replies of real servers, as they were recorded.

`recordings/` holds what Redis Stack 7.4, and Redis 8 and clusters of three, with query engines 8.6
and 8.8, replied, as it came over the wire, in RESP2 and RESP3.
"""

import logging
from functools import partial

import pytest
from recorded import parsed, raw_reply, replies_of, servers

from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.protocol import commands, index_info, replies
from fiftyone_redis.engine.schema.schema import Field
from fiftyone_redis.errors import (
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
    ResultLimitError,
    ServerError,
    UnsupportedServerError,
)

STACK = "redis-stack-7.4.1-search-2.10.5"
REDIS_8 = "redis-8.6.3-search-8.6.7"
CLUSTER = "redis-8.6.3-search-8.6.7-cluster-of-3"
KNN = ("FT.SEARCH", "rec", "*=>[KNN 3 @vector $q AS score]")
NO_WARNING = "+warning\r\n*0\r\n"


# What Redis 8.10 says of whole answers, too.
CAPPED = (
    "Query TIMEOUT exceeded the configured maximum (search-_max-foreground-timeout-limit) while "
    "search-workers is disabled; effective timeout was capped"
)


# What the recorded queries found: the distance and the tag of each key.
ALONE = {
    "all": {
        "rec:0": (0.709825396538, "s0"),
        "rec:3": (0.665423035622, "s0"),
        "rec:7": (0.180976748466, "s1"),
    },
    "within": {"rec:3": (0.665423035622, "s0"), "rec:5": (1.31059193611, "s2")},
}

SHARDED = {
    "all": {
        "rec:1": (0.641284644604, "s1"),
        "rec:3": (0.338751375675, "s0"),
        "rec:5": (0.823957800865, "s2"),
    },
    "within": {"rec:3": (0.338751375675, "s0"), "rec:5": (0.823957800865, "s2")},
}

FOUND = {STACK: ALONE, REDIS_8: ALONE, CLUSTER: SHARDED}


# The later recordings have other indexes, without tags, and other documents for each protocol.
LATER = [name for name in servers() if name not in FOUND]
NEAREST = ("FT.SEARCH", "a", "*=>[KNN 5 @vector $q AS score]")

NEAREST_FOUND = {
    ("alone", 2): {"a:2": 0.5722, "a:6": 0.2539, "a:9": 0.4219, "a:10": 0.2757, "a:18": 0.6198},
    ("alone", 3): {"a:4": 0.3291, "a:11": 0.2623, "a:16": 0.4285, "a:17": 0.5002, "a:19": 0.4451},
    ("cluster", 2): {"a:2": 0.5722, "a:6": 0.2539, "a:9": 0.4219, "a:10": 0.2757, "a:18": 0.6198},
    ("cluster", 3): {"a:1": 0.5847, "a:3": 0.2733, "a:7": 0.5821, "a:16": 0.1964, "a:18": 0.5858},
}


# The recorded indexes; "al" is another name of "recflat".
FLAT = Schema("recflat", 4, "euclidean", "FLAT", "float32", "rec:")
ANY = Schema("any", 4, prefix="", key_prefixes=("",))

SCHEMAS = {
    "rec": Schema(
        "rec",
        4,
        "cosine",
        "HNSW",
        "float32",
        "rec:",
        tags=("sample_id",),
        fields=(Field("sample_id", "sample_id", "TAG", ("SEPARATOR", ",")),),
        m=16,
    ),
    "recflat": FLAT,
    "al": FLAT,
    "empty": Schema("empty", 4, "dotproduct", "FLAT", "float32", "empty:"),
}


@pytest.fixture(params=FOUND)
def server(request):
    return request.param


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def resp(request):
    return request.param


@pytest.fixture
def recorded(server, resp):
    """Finds a reply of a server in a protocol, by the command."""
    return partial(raw_reply, server, resp)


def hits_of(raw: str) -> list[replies.Hit]:
    """Reads a recorded reply to a query that called the distances `score`."""
    return replies.read_hits(parsed(raw.replace("$5\r\nscore\r\n", "$8\r\ndistance\r\n")), ANY)


def by_key(hits: list[replies.Hit]) -> dict[str, tuple[float, str]]:
    return {hit.key: (hit.distance, hit.tags["sample_id"]) for hit in hits}


def error_of(raw: str, kind: type[Exception]) -> str:
    """Returns the message of this package for a reply, after a look at its type and form."""
    error = translate(parsed(raw), "host:6379")
    assert type(error) is kind
    assert str(error).startswith("Redis at host:6379")
    assert str(error).endswith(".")
    assert str(error).isprintable()
    return str(error)


def test_the_neighbours_are_read(recorded, server):
    hits = hits_of(recorded(*KNN, end=("DIALECT", "2")))
    assert by_key(hits) == FOUND[server]["all"]


def test_the_neighbours_among_certain_keys_are_read(recorded, server):
    hits = hits_of(recorded(*KNN, end=("INKEYS", "2", "rec:3", "rec:5")))
    assert by_key(hits) == FOUND[server]["within"]


def test_the_neighbours_stay_in_the_order_of_the_reply(recorded, server):
    hits = hits_of(recorded(*KNN, end=("SORTBY", "score")))
    expected = FOUND[server]["all"]
    assert [hit.key for hit in hits] == sorted(expected, key=lambda key: expected[key])


def test_no_neighbours_are_read(recorded):
    assert hits_of(recorded("FT.SEARCH", "empty")) == []


def test_an_answer_that_was_cut_short_is_refused(server):
    with pytest.raises(IncompleteResultError, match="Timeout limit was reached"):
        hits_of(warned(server, "Timeout limit was reached"))


@pytest.mark.parametrize("later", LATER)
def test_the_neighbours_are_read_of_a_later_server(later, resp):
    kind = "cluster" if "cluster" in later else "alone"
    found = {hit.key: round(hit.distance, 4) for hit in hits_of(raw_reply(later, resp, *NEAREST))}
    assert found == NEAREST_FOUND[kind, resp]


@pytest.mark.parametrize("later", LATER)
def test_the_schema_is_read_of_a_later_server(later, resp):
    info = index_info.read_info(parsed(raw_reply(later, resp, "FT.INFO", "al")))
    assert index_info.read_schema(info) == Schema("al", 4, "cosine", "FLAT", "float32", "al:")


def warned(server: str, *warnings: str) -> str:
    """Returns a whole answer of a server, with warnings that it did not have."""
    raw = raw_reply(server, 3, *KNN, end=("TIMEOUT", "10000"))
    assert NO_WARNING in raw
    said = "".join(f"+{warning}\r\n" for warning in warnings)
    return raw.replace(NO_WARNING, f"+warning\r\n*{len(warnings)}\r\n{said}")


def recorded_warnings() -> list:
    """Returns all recorded replies that have a warning, each with a name."""
    return [
        pytest.param(reply, id=f"{server}-{reply['command'][0]}-{reply['state']}-{number}")
        for server in servers()
        for number, reply in enumerate(replies_of(server))
        if reply["resp"] == 3 and "+warning\r\n*1\r\n" in reply["reply"]
    ]


@pytest.mark.parametrize("reply", recorded_warnings())
def test_a_recorded_answer_with_a_warning_is_refused_and_says_what_to_do(reply):
    advice = "maxmemory" if reply["state"].startswith("memory full") else "query_timeout"
    if reply["command"][0] == "FT.SEARCH":
        answer, read = parsed(reply["reply"]), replies.read_hits
    else:
        answer, read = [parsed(reply["reply"]), 0], replies.read_keys
    with pytest.raises(IncompleteResultError, match=advice):
        read(answer, ANY)


@pytest.mark.parametrize(
    ("warning", "advice"),
    [
        ("Timeout limit was reached", "query_timeout"),
        ("SEARCH_TIMEOUT: Timeout limit was reached", "query_timeout"),
        ("Max prefix expansions limit was reached", "search-max-prefix-expansions"),
        ("Shard failed to execute the query due to insufficient memory", "maxmemory"),
        ("One or more shards failed to execute the query due to insufficient memory", "maxmemory"),
        ("Coordinator failed to execute the query due to out of memory", "maxmemory"),
        (
            "Index contains partial data due to an indexing failure caused by insufficient memory",
            "rebuild the index",
        ),
        ("Index contains partial data due to OOM indexing failure", "rebuild the index"),
        ("Query requires unavailable slots", "slots move"),
        ("Delay exceeded. Results may be incomplete due to Atomic Slot Migration.", "slots move"),
    ],
)
def test_a_warning_of_a_cut_answer_says_what_to_do(warning, advice):
    with pytest.raises(IncompleteResultError, match=advice):
        hits_of(warned(REDIS_8, warning))


def test_no_keys_of_a_query_that_was_cut_short_are_not_none():
    [reply, *_] = [param.values[0] for param in recorded_warnings()]
    with pytest.raises(IncompleteResultError):
        replies.read_some_keys(parsed(reply["reply"]))


def test_an_answer_stays_whole_when_its_timeout_was_capped(server, caplog):
    hits = hits_of(warned(server, CAPPED))
    assert by_key(hits) == FOUND[server]["all"]
    assert not caplog.records


def test_an_unknown_note_is_logged_once(server, caplog):
    note = f"The server {server} has news"
    with caplog.at_level(logging.WARNING, "fiftyone"):
        for _ in range(3):
            assert by_key(hits_of(warned(server, note))) == FOUND[server]["all"]
    assert [record.getMessage().count(note) for record in caplog.records] == [1]


def test_a_cut_answer_is_refused_whatever_else_is_said(server):
    with pytest.raises(IncompleteResultError, match=r"capped; Timeout limit was reached\)"):
        hits_of(warned(server, CAPPED, "Timeout limit was reached"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_is_read(recorded, name):
    info = index_info.read_info(parsed(recorded("FT.INFO", name)))
    assert index_info.read_schema(info) == SCHEMAS[name]


def test_what_the_server_says_of_an_index_is_read(recorded):
    info = index_info.read_info(parsed(recorded("FT.INFO", "rec")))
    assert (info["index_name"], info["num_docs"], info["indexing"]) == ("rec", 8, 0)
    assert float(info["percent_indexed"]) == 1


def test_the_counts_of_an_index_are_numbers_that_add_up_over_all_nodes(recorded):
    info = index_info.read_info(parsed(recorded("FT.INFO", "rec")))
    found = parsed(recorded("FT.SEARCH", "rec", "*", "NOCONTENT"))
    total = found[b"total_results"] if isinstance(found, dict) else found[0]
    assert int(info["num_docs"]) == total
    assert float(info["vector_index_sz_mb"]) > 0


def test_the_names_of_all_indexes_are_read(recorded):
    names = {wire.to_text(name) for name in parsed(recorded(*commands.names()))}
    assert {"rec", "recflat", "empty"} <= names


def test_what_the_server_says_of_an_index_is_the_same_in_both_protocols(server):
    two, three = (
        index_info.read_info(parsed(raw_reply(server, resp, "FT.INFO", "rec"))) for resp in (2, 3)
    )
    assert three["index_definition"]["prefixes"] == ["rec:"]
    assert two["index_definition"]["prefixes"] == ["rec:"]


@pytest.mark.parametrize("command", ["FT.INFO", "FT.SEARCH", "FT.DROPINDEX"])
def test_an_unknown_index_has_its_error_whatever_the_wording(recorded, command):
    assert "check index_name" in error_of(recorded(command, "nope"), IndexNotFoundError)


def test_an_index_that_is_there_already_has_its_error(server):
    second = [
        reply["reply"]
        for reply in replies_of(server)
        if reply["command"][:2] == ["FT.CREATE", "rec"]
    ][1]
    assert "exists already" in error_of(second, IndexMismatchError)


def test_more_results_than_the_server_gives_have_their_error(recorded):
    raw = recorded("FT.SEARCH", "rec", "*", "LIMIT", "0", "5000000")
    assert "LIMIT exceeds maximum of 1000000" in error_of(raw, ResultLimitError)


@pytest.mark.parametrize("server", [STACK, REDIS_8], indirect=True)
def test_another_database_than_0_has_its_error(recorded):
    assert "set db=0" in error_of(recorded("FT.CREATE", "db1"), UnsupportedServerError)


@pytest.mark.parametrize("server", [STACK], indirect=True)
def test_a_type_that_the_server_cannot_hold_has_its_error(recorded):
    error_of(recorded("FT.CREATE", "bad"), UnsupportedServerError)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("NOSUCH",), "unknown command 'NOSUCH'"),
        (("LPUSH", "rec:3"), "WRONGTYPE"),
        (("FT.SEARCH", "rec", "@vector:["), "Syntax error at offset 8 near vector"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_other_error_keeps_the_reason_of_the_server(recorded, command, reason):
    assert reason in error_of(recorded(*command), ServerError)
