"""The refusals and warnings of Redis and its query engine, recognised in one place. No sockets.

Up to 8.6 the query engine refuses in words alone; from 8.8 on a code comes first, and one code
stands for several refusals. The texts are those of RediSearch 2.10, 8.6, 8.8 and 8.10, as in
``tests/shared/recordings`` and as its sources have them.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Refusal(Enum):
    """What a server refuses, or why."""

    INDEX_NOT_FOUND = auto()
    INDEX_DROPPED = auto()
    """The index was there when the query or the cursor began."""
    INDEX_EXISTS = auto()
    ALIAS_NOT_FOUND = auto()
    ALIAS_EXISTS = auto()
    ALIAS_IS_INDEX = auto()
    """An index has the name that is to be an alias."""
    ALIAS_OF_OTHER = auto()
    """The name is that of another index, or an alias of another."""
    ALIAS_TARGET = auto()
    """What is to get an alias is no index; it may be an alias itself."""
    CURSOR_NOT_FOUND = auto()
    QUERY_TIMEOUT = auto()
    RESULT_LIMIT = auto()
    OUT_OF_MEMORY = auto()
    NO_QUERY_ENGINE = auto()
    NO_SVS = auto()
    NO_JSON = auto()
    UNSUPPORTED_INDEX = auto()
    WRONG_DATABASE = auto()
    NO_PERMISSION = auto()
    BAD_CREDENTIALS = auto()
    READ_ONLY = auto()
    CLUSTER_DOWN = auto()
    PRIMARY_DOWN = auto()
    TRY_AGAIN = auto()
    SLOTS_UNAVAILABLE = auto()
    NODES_UNREACHABLE = auto()
    INDEX_DIFFERS = auto()
    """The nodes of a cluster have different indexes of that name."""


TRANSIENT = frozenset(
    {
        Refusal.CLUSTER_DOWN,
        Refusal.PRIMARY_DOWN,
        Refusal.TRY_AGAIN,
        Refusal.SLOTS_UNAVAILABLE,
        Refusal.NODES_UNREACHABLE,
        Refusal.INDEX_DIFFERS,
    }
)
"""The refusals that may be gone when the command is sent again."""


class Cut(Enum):
    """Why an answer is only part of the truth, and what to do about it."""

    TIMEOUT = "allow it more time with query_timeout, and see that the server does not allow less"
    OUT_OF_MEMORY = "the server's memory is full: raise its maxmemory or remove data"
    NOT_INDEXED = (
        "the server lacked the memory to index all documents: give it more memory and rebuild the "
        "index"
    )
    EXPANSIONS = "raise the server's search-max-prefix-expansions"
    SLOTS = "slots move between the nodes of the cluster: repeat this when they have moved"


class _Form(NamedTuple):
    """One form of a refusal.

    Args:
        refusal: what it tells
        codes: the codes that it may begin with, "" for none; None for none or any
        words: the whole rest of it, as a regular expression, whatever the case of its letters
    """

    refusal: Refusal
    codes: tuple[str, ...] | None
    words: re.Pattern[str]


def _form(refusal: Refusal, codes: str | None, words: str = ".*") -> _Form:
    accepted = None if codes is None else tuple(codes.split("|"))
    return _Form(refusal, accepted, re.compile(words, re.IGNORECASE))


# The first form that fits counts. A code that is not here never counts as "no such index" or
# "exists already", whatever the words behind it. Where a code says enough, new words fit as well,
# unless they tell of an alias.
_FORMS = (
    _form(Refusal.INDEX_NOT_FOUND, "", r"unknown index name|no such index( .+)?|.+: no such index"),
    _form(Refusal.INDEX_NOT_FOUND, "SEARCH_INDEX_NOT_FOUND", "index not found(: .*)?"),
    _form(
        Refusal.ALIAS_TARGET,
        "|SEARCH_INDEX_NOT_FOUND",
        r"unknown index name \(or name is an alias itself\)",
    ),
    _form(
        Refusal.ALIAS_OF_OTHER,
        "|SEARCH_INDEX_NOT_FOUND",
        "alias does not belong to provided spec",
    ),
    _form(
        Refusal.INDEX_DROPPED,
        "|SEARCH_INDEX_NOT_FOUND|SEARCH_INDEX_DROPPED_BG|SEARCH_INDEX_DROPPED_BACKGROUND"
        "|SEARCH_DROPPED_BACKGROUND",
        "the index was dropped (before the query could be executed|while the cursor was idle)",
    ),
    _form(Refusal.INDEX_NOT_FOUND, "SEARCH_INDEX_NOT_FOUND", r"(?!.*\balias).*"),
    _form(Refusal.INDEX_EXISTS, "", "index already exists"),
    _form(Refusal.ALIAS_EXISTS, "|SEARCH_INDEX_EXISTS", "alias already exists"),
    _form(Refusal.INDEX_EXISTS, "SEARCH_INDEX_EXISTS", r"(?!.*\balias).*"),
    _form(Refusal.ALIAS_NOT_FOUND, "|SEARCH_INDEX_NOT_FOUND", "alias does not exist"),
    _form(Refusal.ALIAS_IS_INDEX, "", "alias conflicts with an existing index name"),
    _form(Refusal.ALIAS_IS_INDEX, "SEARCH_ALIAS_CONFLICT"),
    _form(Refusal.CURSOR_NOT_FOUND, None, "cursor (not found|does not exist)(, id: .*)?"),
    _form(Refusal.QUERY_TIMEOUT, "SEARCH_TIMEOUT"),
    _form(Refusal.QUERY_TIMEOUT, "", "timeout limit was reached"),
    _form(Refusal.RESULT_LIMIT, None, "limit exceeds maximum of .*"),
    _form(
        Refusal.NO_SVS,
        None,
        f"vector index element size {2**64 - 1} exceeded maximum size allowed by server limit.*",
    ),
    _form(
        Refusal.UNSUPPORTED_INDEX,
        None,
        "vector index element size .* exceeded maximum size allowed by server limit.*"
        "|bad arguments for vector similarity.*",
    ),
    _form(Refusal.NO_JSON, None, "invalid rule type: json"),
    _form(Refusal.OUT_OF_MEMORY, "SEARCH_OOM|SEARCH_OOM_SHARD|SEARCH_OOM_COORD"),
    _form(
        Refusal.OUT_OF_MEMORY,
        "|OOM",
        "command not allowed when used memory > 'maxmemory'.*"
        "|not enough memory available to execute the query"
        "|.* failed to execute the query due to insufficient memory",
    ),
    # FT.CONFIG is one that a cluster of Redis 8 lacks, query engine or not.
    _form(Refusal.NO_QUERY_ENGINE, "", r"unknown command ['`]ft\.(?!config\b).*"),
    _form(Refusal.WRONG_DATABASE, None, "cannot create index on db != 0"),
    _form(Refusal.NO_PERMISSION, "NOPERM"),
    _form(
        Refusal.NO_PERMISSION,
        "",
        "user does not have the required permissions to query the index"
        "|(this user|user .*) has no permissions to .*"
        "|no permissions to access a (key|channel)",
    ),
    _form(Refusal.BAD_CREDENTIALS, "WRONGPASS|NOAUTH"),
    _form(Refusal.READ_ONLY, "|READONLY", "you can't write against a read only .*"),
    _form(Refusal.CLUSTER_DOWN, "CLUSTERDOWN"),
    _form(Refusal.PRIMARY_DOWN, "MASTERDOWN"),
    _form(Refusal.TRY_AGAIN, "TRYAGAIN"),
    _form(Refusal.SLOTS_UNAVAILABLE, "SEARCH_SLOTS_UNAVAIL|SEARCH_SLOTS_UNAVAILABLE"),
    _form(Refusal.SLOTS_UNAVAILABLE, "", "query requires unavailable slots"),
    _form(Refusal.NODES_UNREACHABLE, "ERRCLUSTER|SEARCH_CLUSTER_NO_RESPONSES"),
    _form(Refusal.NODES_UNREACHABLE, None, "could not send query to cluster.*"),
    _form(
        Refusal.INDEX_DIFFERS,
        "|SEARCH_INDEX_MISMATCH|SEARCH_MISMATCH",
        "index mismatch: shard index is different than queried index",
    ),
)

_CODES = frozenset(code for form in _FORMS for code in form.codes or () if code)
_OLD_END = ": no such index"  # which no refusal with a code has
_UNKNOWN_CODE = re.compile("SEARCH_[A-Z0-9_]+")

# Parts of warnings. To miss one that tells of a cut answer is worse than to take one for it.
_WARNINGS = (
    (Cut.NOT_INDEXED, re.compile("partial data|indexing failure", re.IGNORECASE)),
    (Cut.TIMEOUT, re.compile("timeout limit was reached|SEARCH_TIMEOUT", re.IGNORECASE)),
    (Cut.EXPANSIONS, re.compile("max prefix expansions", re.IGNORECASE)),
    (
        Cut.OUT_OF_MEMORY,
        re.compile("(insufficient|out of|not enough) memory|SEARCH_OOM", re.IGNORECASE),
    ),
    (
        Cut.SLOTS,
        re.compile("unavailable slots|slot migration|incomplete|inaccurate", re.IGNORECASE),
    ),
)
# What a server also says of whole answers.
_NOTES = re.compile("effective timeout was capped", re.IGNORECASE)


def recognise(text: str) -> Refusal | None:
    """Returns what a refusal tells.

    Args:
        text: what the server says, with its code or, as redis-py hands some over, without

    Returns:
        None for a refusal that is not known, which may tell anything
    """
    said = text.strip().removeprefix("ERR ")
    code, words = _split(said)
    for form in _FORMS:
        if form.codes is not None and code not in form.codes:
            continue
        if form.words.fullmatch(words):
            return form.refusal
    return None


def recognise_warning(text: str) -> Cut | None:
    """Returns why an answer is cut, as a warning that came with it tells.

    Args:
        text: the warning

    Returns:
        None for a warning that does not tell of a cut answer
    """
    return next((cut for cut, part in _WARNINGS if part.search(text)), None)


def is_known_note(text: str) -> bool:
    """Returns whether a warning is one that is known to come with whole answers, too."""
    return _NOTES.search(text) is not None


def _split(said: str) -> tuple[str, str]:
    """Returns the code of a refusal, "" for none, and what it says.

    The name of an index may look like a code ("SEARCH_A: no such index", "search_a b: no such
    index").
    """
    first, _, rest = said.partition(" ")
    code, rest_lower = first.removesuffix(":"), rest.lower()
    if code != first and rest_lower == "no such index":
        return "", said
    if code in _CODES or _UNKNOWN_CODE.fullmatch(code):
        return code, rest
    raised = code.upper()
    is_code = raised in _CODES and raised.startswith("SEARCH_")
    return (raised, rest) if is_code and not rest_lower.endswith(_OLD_END) else ("", said)
