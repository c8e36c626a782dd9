"""A way to a server of RediSearch 2.10 that words its refusals as later ones do."""

import re
from collections.abc import Callable

from relay import Change, Relay

_INDEX_WORDS = (
    rb"unknown index name \(or name is an alias itself\)",
    rb"unknown index name",
    rb"(?P<name>.+): no such index",
)


def _missing(text: bytes) -> bytes | None:
    """Returns the name that a refusal of a missing index tells; None if it is another refusal."""
    for words in _INDEX_WORDS:
        if found := re.fullmatch(words, text, re.IGNORECASE):
            return found.groupdict().get("name", b"gone")
    return None


def _as_2_10(text: bytes) -> bytes:
    return text


def _as_8_6(text: bytes) -> bytes:
    if (name := _missing(text)) is None:
        return text
    # FT.SEARCH has one form and FT.INFO the other.
    return b"%b: no such index" % name if name == b"gone" else b"No such index %b" % name


_CODES = {
    b"Index already exists": b"SEARCH_INDEX_EXISTS",
    b"Alias already exists": b"SEARCH_INDEX_EXISTS",
    b"Alias does not belong to provided spec": b"SEARCH_INDEX_NOT_FOUND",
    b"Timeout limit was reached": b"SEARCH_TIMEOUT",
    b"LIMIT exceeds maximum of ": b"SEARCH_LIMIT_OVER",
    b"Invalid rule type: ": b"SEARCH_ADD_ARGS",
    b"Syntax error at ": b"SEARCH_SYNTAX",
    b"Unknown field at ": b"SEARCH_SYNTAX",
    b"Bad arguments for ": b"SEARCH_PARSE_ARGS",
    b"Error parsing vector similarity query": b"SEARCH_QUERY_BAD",
}


def _as_8_8(text: bytes) -> bytes:
    if (name := _missing(text)) is not None:
        return b"SEARCH_INDEX_NOT_FOUND Index not found: " + name
    for start, code in _CODES.items():
        if text.startswith(start):
            return code + b" " + text
    return text


def _as_8_10(text: bytes) -> bytes:
    """The codes are followed by a colon, as in the sources, and no name is told."""
    told = re.sub(rb"^(SEARCH_\w+) ", rb"\1: ", _as_8_8(text))
    return re.sub(rb"(: Index not found): .*", rb"\1", told)


WORDINGS: dict[str, Callable[[bytes], bytes]] = {
    "2.10": _as_2_10,
    "8.6": _as_8_6,
    "8.8": _as_8_8,
    "8.10": _as_8_10,
}


class Rewording(Relay):
    """A way to a server that words its refusals otherwise.

    Args:
        port: the server's port on this machine
        wording: one of ``WORDINGS``
    """

    def __init__(self, port: int, wording: str) -> None:
        self._reword = WORDINGS[wording]
        super().__init__(port)

    def replies(self) -> Change:
        return _Errors(self._reword).changed


class _Errors:
    """Changes the error lines of a stream of replies, in RESP2 and RESP3, and nothing else."""

    def __init__(self, reword: Callable[[bytes], bytes]) -> None:
        self._reword = reword
        self._unread = b""
        self._bulk = 0  # bytes that are left of a string, which may look like an error

    def changed(self, data: bytes) -> bytes:
        data = self._unread + data
        told = []
        at = 0
        while at < len(data):
            if self._bulk:
                end = min(len(data), at + self._bulk)
                self._bulk -= end - at
                told.append(data[at:end])
            else:
                line_end = data.find(b"\r\n", at)
                if line_end < 0:
                    break
                end = line_end + 2
                told.append(self._line(data[at:line_end]) + b"\r\n")
            at = end
        self._unread = data[at:]
        return b"".join(told)

    def _line(self, line: bytes) -> bytes:
        kind, rest = line[:1], line[1:]
        if kind in b"$=!" and int(rest) >= 0:
            self._bulk = int(rest) + 2
        return b"-" + self._reword(rest) if kind == b"-" else line
