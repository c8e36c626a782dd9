"""Recognises error replies and warnings of Redis and its query engine. No sockets.

Up to version 8.6 the query engine's errors have no code; from 8.8 on they start with one, and one
code stands for several errors. The texts are those of RediSearch 2.10, 8.6, 8.8 and 8.10, taken
from ``tests/shared/recordings`` and its sources.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Refusal(Enum):
    """Why a server refused a command."""

    INDEX_NOT_FOUND = auto()
    INDEX_DROPPED = auto()
    """The index was dropped while a query or cursor was reading it."""
    INDEX_EXISTS = auto()
    ALIAS_NOT_FOUND = auto()
    ALIAS_EXISTS = auto()
    ALIAS_IS_INDEX = auto()
    """An index already has the name of the new alias."""
    ALIAS_OF_OTHER = auto()
    """The name belongs to another index, or is an alias of one."""
    ALIAS_TARGET = auto()
    """The target of the alias is not an index; it may be an alias itself."""
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
    FENCED = auto()
    """This package's own script found that another process has changed the index."""


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
"""The refusals that a retry may overcome."""


class Cut(Enum):
    """Why results are incomplete, and what to do about it."""

    TIMEOUT = "raise query_timeout, and check that the server's own limit is not lower"
    OUT_OF_MEMORY = "the server's memory is full: raise its maxmemory or remove data"
    NOT_INDEXED = (
        "the server lacked the memory to index all documents: give it more memory and rebuild the "
        "index"
    )
    EXPANSIONS = "raise the server's search-max-prefix-expansions"
    SLOTS = "slots move between the nodes of the cluster: try again when they have moved"


class _Form(NamedTuple):
    """One form of a refusal.

    Args:
        refusal: what the form means
        codes: the codes it may start with, "" for no code; None accepts any code or none
        words: a regular expression for the rest of the text, in any case
    """

    refusal: Refusal
    codes: tuple[str, ...] | None
    words: re.Pattern[str]


def _form(refusal: Refusal, codes: str | None, words: str = ".*") -> _Form:
    accepted = None if codes is None else tuple(codes.split("|"))
    return _Form(refusal, accepted, re.compile(words, re.IGNORECASE))


# The first match counts. An unknown code never means "no such index" or "exists already", whatever
# words follow it. Where the code is clear, any words match, unless they mention an alias.
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
    _form(Refusal.FENCED, "FENCED"),
    _form(Refusal.OUT_OF_MEMORY, "SEARCH_OOM|SEARCH_OOM_SHARD|SEARCH_OOM_COORD"),
    _form(
        Refusal.OUT_OF_MEMORY,
        "|OOM",
        "command not allowed when used memory > 'maxmemory'.*"
        "|not enough memory available to execute the query"
        "|.* failed to execute the query due to insufficient memory",
    ),
    # A Redis 8 cluster lacks FT.CONFIG even if it has the query engine.
    _form(Refusal.NO_QUERY_ENGINE, "", r"unknown command ['`]ft\.(?!config\b).*"),
    _form(Refusal.WRONG_DATABASE, None, "cannot create index on db != 0"),
    _form(Refusal.NO_PERMISSION, "NOPERM"),
    _form(
        Refusal.NO_PERMISSION,
        "",
        "user does not have the required permissions to query the index"
        "|(acl failure in script: )?(this user|user .*) has no permissions to .*"
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
_OLD_END = ": no such index"  # no refusal with a code ends like this
_UNKNOWN_CODE = re.compile("SEARCH_[A-Z0-9_]+")

# Substrings of warnings. A false alarm is better than missing incomplete results.
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
# Warnings that also come with complete results.
_NOTES = re.compile("effective timeout was capped", re.IGNORECASE)


def recognise(text: str) -> Refusal | None:
    """Recognises an error reply.

    Args:
        text: the error, with or without its code (redis-py strips some codes)

    Returns:
        the refusal; None if it is unknown
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
    """Recognises a warning about incomplete results.

    Args:
        text: the warning

    Returns:
        why the results are incomplete; None for any other warning
    """
    return next((cut for cut, part in _WARNINGS if part.search(text)), None)


def is_pool_exhausted(error: BaseException) -> bool:
    """Returns whether redis-py refused a command since all connections are in use."""
    # Before version 6.3, redis-py has no class of its own for it.
    return str(error) == "Too many connections"


def is_known_note(text: str) -> bool:
    """Returns whether a warning is known to come with complete results, too."""
    return _NOTES.search(text) is not None


def _split(said: str) -> tuple[str, str]:
    """Splits an error into its code ("" for none) and the rest.

    An index name may look like a code ("SEARCH_A: no such index", "search_a b: no such
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
