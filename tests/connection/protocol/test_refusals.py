"""The table of refusals: against all that real servers refused, and what later ones will."""

import pytest
import redis
from recorded import parsed, replies_of, servers

from fiftyone_redis.connection import retry
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.refusals import TRANSIENT, Refusal, recognise
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.errors import (
    AuthenticationError,
    IncompleteResultError,
    IndexMismatchError,
    IndexNotFoundError,
    ResultLimitError,
    ServerError,
    UnsupportedServerError,
)

# Every recorded refusal, and what it tells; None for those that stay errors quoting the server.
RECORDED = {
    # a missing index
    "Unknown index name": Refusal.INDEX_NOT_FOUND,
    "Unknown Index name": Refusal.INDEX_NOT_FOUND,
    "nope: no such index": Refusal.INDEX_NOT_FOUND,
    "No such index nope": Refusal.INDEX_NOT_FOUND,
    "SEARCH_INDEX_NOT_FOUND Index not found: nope": Refusal.INDEX_NOT_FOUND,
    # an index, or an alias, that is there
    "Index already exists": Refusal.INDEX_EXISTS,
    "SEARCH_INDEX_EXISTS Index already exists": Refusal.INDEX_EXISTS,
    "Alias already exists": Refusal.ALIAS_EXISTS,
    "SEARCH_INDEX_EXISTS Alias already exists": Refusal.ALIAS_EXISTS,
    "Alias conflicts with an existing index name": Refusal.ALIAS_IS_INDEX,
    "SEARCH_ALIAS_CONFLICT Alias conflicts with an existing index name": Refusal.ALIAS_IS_INDEX,
    "Alias does not belong to provided spec": Refusal.ALIAS_OF_OTHER,
    "SEARCH_INDEX_NOT_FOUND Alias does not belong to provided spec": Refusal.ALIAS_OF_OTHER,
    "Alias does not exist": Refusal.ALIAS_NOT_FOUND,
    # queries
    "Timeout limit was reached": Refusal.QUERY_TIMEOUT,
    "SEARCH_TIMEOUT Timeout limit was reached": Refusal.QUERY_TIMEOUT,
    "LIMIT exceeds maximum of 1000000": Refusal.RESULT_LIMIT,
    "SEARCH_LIMIT_OVER LIMIT exceeds maximum of 1000000": Refusal.RESULT_LIMIT,
    "Error parsing vector similarity query: query vector blob size (3) does not match index's "
    "expected size (16).": None,
    "SEARCH_QUERY_BAD Error parsing vector similarity query: query vector blob size (3) does not "
    "match index's expected size (16).": None,
    "Syntax error at offset 8 near vector": None,
    "SEARCH_SYNTAX Syntax error at offset 8 near vector": None,
    "Unknown field at offset 10 near nope": None,
    "SEARCH_SYNTAX Unknown field at offset 10 near nope": None,
    # what a server cannot hold
    "Vector index element size 18446744073709551615 exceeded maximum size allowed by server limit "
    "which is 0": Refusal.NO_SVS,
    "SEARCH_LIMIT_OVER Vector index element size 18446744073709551615 exceeded maximum size "
    "allowed by server limit which is 0": Refusal.NO_SVS,
    "Bad arguments for vector similarity FLAT index type: Unknown argument": (
        Refusal.UNSUPPORTED_INDEX
    ),
    "Bad arguments for vector similarity algorithm: Unknown argument": Refusal.UNSUPPORTED_INDEX,
    "Invalid rule type: JSON": Refusal.NO_JSON,
    "SEARCH_ADD_ARGS Invalid rule type: JSON": Refusal.NO_JSON,
    "Cannot create index on db != 0": Refusal.WRONG_DATABASE,
    "OOM command not allowed when used memory > 'maxmemory'.": Refusal.OUT_OF_MEMORY,
    # rights
    "NOPERM User does not have the required permissions to query the index": Refusal.NO_PERMISSION,
    "NOPERM User rec has no permissions to run the 'FT.DROPINDEX' command": Refusal.NO_PERMISSION,
    "NOPERM User rec has no permissions to run the 'FT._LIST' command": Refusal.NO_PERMISSION,
    "NOPERM No permissions to access a key": Refusal.NO_PERMISSION,
    "WRONGPASS invalid username-password pair or user is disabled.": Refusal.BAD_CREDENTIALS,
    # clusters
    "CLUSTERDOWN The cluster is down": Refusal.CLUSTER_DOWN,
    "Could not send query to cluster": Refusal.NODES_UNREACHABLE,
    "Cannot perform `FT.DROPINDEX`: Cannot block": None,
    "Cannot perform `FT.ALIASADD`: Cannot block": None,
    "CROSSSLOT Keys in request don't hash to the same slot": None,
    "MOVED 8311 127.0.0.1:7802": None,
    "MOVED 4116 127.0.0.1:7834": None,
    "MOVED 53 127.0.0.1:7833": None,
    "ERR SELECT is not allowed in cluster mode": None,
    # commands that a server lacks: that of a cluster without FT.CONFIG has a query engine
    "ERR unknown command 'FT.CONFIG', with args beginning with: 'GET' 'MAXSEARCHRESULTS' ": None,
    "ERR unknown command 'NOSUCH'": None,
    "ERR unknown command 'NOSUCH', with args beginning with: ": None,
    "ERR CONFIG SET failed (possibly related to argument 'search-on-timeout') - argument(s) must "
    "be one of the following: return, fail": None,
    "WRONGTYPE Operation against a key holding the wrong kind of value": None,
}

# The forms that no recording holds: of RediSearch 2.10 and of the sources up to 8.10.
OTHERS = {
    "no such index": Refusal.INDEX_NOT_FOUND,
    "SEARCH_INDEX_NOT_FOUND Index not found": Refusal.INDEX_NOT_FOUND,
    "SEARCH_INDEX_NOT_FOUND: Index not found": Refusal.INDEX_NOT_FOUND,
    "SEARCH_INDEX_NOT_FOUND: Index not found: an-alias": Refusal.INDEX_NOT_FOUND,
    "search_index_not_found index not found: nope": Refusal.INDEX_NOT_FOUND,
    "SEARCH_INDEX_NOT_FOUND There is none of that name": Refusal.INDEX_NOT_FOUND,
    "Unknown index name (or name is an alias itself)": Refusal.ALIAS_TARGET,
    "SEARCH_INDEX_NOT_FOUND Unknown index name (or name is an alias itself)": Refusal.ALIAS_TARGET,
    "The index was dropped before the query could be executed": Refusal.INDEX_DROPPED,
    "SEARCH_INDEX_DROPPED_BG The index was dropped before the query could be executed": (
        Refusal.INDEX_DROPPED
    ),
    "The index was dropped while the cursor was idle": Refusal.INDEX_DROPPED,
    "SEARCH_INDEX_NOT_FOUND The index was dropped while the cursor was idle": (
        Refusal.INDEX_DROPPED
    ),
    "SEARCH_INDEX_EXISTS: Index already exists": Refusal.INDEX_EXISTS,
    "SEARCH_INDEX_EXISTS: Alias already exists": Refusal.ALIAS_EXISTS,
    "SEARCH_ALIAS_CONFLICT: Alias conflicts with an existing index name": Refusal.ALIAS_IS_INDEX,
    "Cursor not found": Refusal.CURSOR_NOT_FOUND,
    "Cursor not found, id: 7": Refusal.CURSOR_NOT_FOUND,
    "Cursor does not exist": Refusal.CURSOR_NOT_FOUND,
    "SEARCH_TIMEOUT: Timeout limit was reached": Refusal.QUERY_TIMEOUT,
    "SEARCH_LIMIT_OVER: LIMIT exceeds maximum of 10": Refusal.RESULT_LIMIT,
    "SEARCH_OOM: Not enough memory available to execute the query": Refusal.OUT_OF_MEMORY,
    "Not enough memory available to execute the query": Refusal.OUT_OF_MEMORY,
    "Query requires unavailable slots": Refusal.SLOTS_UNAVAILABLE,
    "SEARCH_SLOTS_UNAVAIL Query requires unavailable slots": Refusal.SLOTS_UNAVAILABLE,
    "SEARCH_SLOTS_UNAVAILABLE: Query requires unavailable slots": Refusal.SLOTS_UNAVAILABLE,
    "Index mismatch: Shard index is different than queried index": Refusal.INDEX_DIFFERS,
    "SEARCH_INDEX_MISMATCH Index mismatch: Shard index is different than queried index": (
        Refusal.INDEX_DIFFERS
    ),
    "ERRCLUSTER Uninitialized cluster state, could not perform command": (
        Refusal.NODES_UNREACHABLE
    ),
    "SEARCH_CLUSTER_NO_RESPONSES no responses received": Refusal.NODES_UNREACHABLE,
    "SEARCH_LIMIT_OVER Vector index element size 9000 exceeded maximum size allowed by server "
    "limit which is 4000": Refusal.UNSUPPORTED_INDEX,
    "SEARCH_PARSE_ARGS Bad arguments for vector similarity algorithm: Unknown argument": (
        Refusal.UNSUPPORTED_INDEX
    ),
    "ERR unknown command 'FT.CREATE', with args beginning with: 'docs' ": Refusal.NO_QUERY_ENGINE,
    "ERR unknown command `FT.SEARCH`, with args beginning with: ": Refusal.NO_QUERY_ENGINE,
    "NOPERM this user has no permissions to run the 'ft.info' command": Refusal.NO_PERMISSION,
    "NOAUTH Authentication required.": Refusal.BAD_CREDENTIALS,
    "READONLY You can't write against a read only replica.": Refusal.READ_ONLY,
    "MASTERDOWN Link with MASTER is down": Refusal.PRIMARY_DOWN,
    "TRYAGAIN Multiple keys request during rehashing of slot": Refusal.TRY_AGAIN,
}

# What resembles a refusal that is known.
UNKNOWN = [
    "SEARCH_INDEX_LOCKED nope: no such index",
    "SEARCH_INDEX_LOCKED Index not found: nope",
    "SEARCH_INDEX_LOCKED Index already exists",
    "SEARCH_INDEX_NOT_FOUND Alias is gone",
    "SEARCH_INDEX_EXISTS Some alias is in the way",
    "SEARCH_LIMIT_OVER Limit exceeded",
    "Index not found: nope",
    "Could not lock the index: no such index in shard 3",
    "Syntax error at offset 3 near `no such index`",
    "Unknown index name in the plan",
    "Index already exists on 1 of 3 nodes",
    "Unknown argument `Index already exists`",
    "ERR The query failed: Timeout limit was reached, or not",
    "",
]

# Names that a server of RediSearch 2.10 or 8.6 puts before or behind "no such index".
NAMES = ["docs", "SEARCH_IMAGES", "SEARCH_TIMEOUT", "search_timeout v2", "MY INDEX", "日本 😀"]
NAMES += ["a: no such index", "x-alias", "Index already exists", "ERR", "%s {}", "a:b c"]

KINDS = {
    Refusal.INDEX_NOT_FOUND: IndexNotFoundError,
    Refusal.INDEX_DROPPED: IndexNotFoundError,
    Refusal.ALIAS_TARGET: IndexNotFoundError,
    Refusal.INDEX_EXISTS: IndexMismatchError,
    Refusal.ALIAS_EXISTS: IndexMismatchError,
    Refusal.ALIAS_IS_INDEX: IndexMismatchError,
    Refusal.ALIAS_OF_OTHER: IndexMismatchError,
    Refusal.QUERY_TIMEOUT: IncompleteResultError,
    Refusal.RESULT_LIMIT: ResultLimitError,
    Refusal.NO_QUERY_ENGINE: UnsupportedServerError,
    Refusal.NO_SVS: UnsupportedServerError,
    Refusal.NO_JSON: UnsupportedServerError,
    Refusal.UNSUPPORTED_INDEX: UnsupportedServerError,
    Refusal.WRONG_DATABASE: UnsupportedServerError,
    Refusal.NO_PERMISSION: AuthenticationError,
    Refusal.BAD_CREDENTIALS: AuthenticationError,
}

DONE = {
    ("FT.CREATE", Refusal.INDEX_EXISTS),
    ("FT.DROPINDEX", Refusal.INDEX_NOT_FOUND),
    ("FT.ALIASADD", Refusal.ALIAS_EXISTS),
    ("FT.ALIASDEL", Refusal.ALIAS_NOT_FOUND),
}
COMMANDS = (
    *("FT.CREATE", "FT.DROPINDEX", "FT.ALIASADD", "FT.ALIASDEL", "FT.ALIASUPDATE", "FT.ALTER"),
    *("FT.INFO", "FT.SEARCH", "FT.AGGREGATE", "FT.CURSOR", "FT._LIST", "HSET", "DEL"),
)


def recorded_refusals() -> list:
    """Returns every different refusal of each server, with its command and protocol."""
    found = {
        (server, reply["resp"], reply["command"][0], line[1:])
        for server in servers()
        for reply in replies_of(server)
        if reply["reply"].startswith(("-", "*2\r\n-"))
        for line in reply["reply"].split("\r\n")
        if line.startswith("-")
    }
    return [
        pytest.param(command, text, id=f"{server}-RESP{resp}-{command}-{text[:40]}")
        for server, resp, command, text in sorted(found)
    ]


def check(text: str, refusal: Refusal | None) -> None:
    """Looks at what becomes of a refusal, whole and as redis-py hands it over."""
    error = parsed(f"-{text}\r\n")
    assert recognise(text) is refusal
    raised = translate(error, "host:6379")
    assert type(raised) is KINDS.get(refusal, ServerError)
    assert str(error).rstrip(" ,.") in str(raised)
    passing = isinstance(error, redis.exceptions.AskError | redis.exceptions.ReadOnlyError)
    assert retry.is_transient(error) == (passing or refusal in TRANSIENT)
    for command in COMMANDS:
        assert wire.is_already_done([command, "nope"], text) == ((command, refusal) in DONE)


@pytest.mark.parametrize(("command", "text"), recorded_refusals())
def test_a_recorded_refusal_is_what_it_is(command, text):
    assert text in RECORDED, f"What does it tell that {command} is refused so?"
    check(text, RECORDED[text])


def test_every_refusal_that_is_expected_is_recorded():
    assert RECORDED.keys() == {param.values[1] for param in recorded_refusals()}


@pytest.mark.parametrize(("text", "refusal"), OTHERS.items())
def test_a_refusal_in_a_form_that_is_not_recorded_is_what_it_is(text, refusal):
    check(text, refusal)


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_refusal_stays_an_error_that_quotes_the_server(text):
    check(text, None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["{}: no such index", "No such index {}", "SEARCH_INDEX_NOT_FOUND Index not found: {}"]
)
def test_a_missing_index_may_have_any_name(text, name):
    assert recognise(text.replace("{}", name)) is Refusal.INDEX_NOT_FOUND


@pytest.mark.parametrize(
    ("text", "refusal"), [item for item in (RECORDED | OTHERS).items() if "FT." not in item[0]]
)
def test_the_case_of_the_words_does_not_matter(text, refusal):
    code, _, words = text.partition(" ")
    changed = f"{code} {words.swapcase()}" if code.isupper() else text.swapcase()
    assert recognise(changed) is refusal


@pytest.mark.parametrize("text", [text for text in RECORDED if "184467440737" in text])
def test_a_server_without_svs_says_so_in_our_words(text):
    raised = translate(redis.ResponseError(text), "host:6379")
    assert "built without SVS-VAMANA; use FLAT or HNSW" in str(raised)
