"""Packs commands, and reads what packed commands and replies contain. No sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from fiftyone_redis.connection.protocol.parsing import parses
from fiftyone_redis.connection.protocol.refusals import Refusal, recognise

Arg = str | bytes | int | float


Command = list[Arg]


SEARCH = "FT.SEARCH"
"""A command that every query engine has."""

AGGREGATE = "FT.AGGREGATE"
"""Finds documents as SEARCH does, and returns them in pages."""

INFO = "FT.INFO"
"""Describes an index."""


LIST = "FT._LIST"
"""Lists indexes; in a cluster, those of the first shard or of the node itself."""

COORDINATOR = "SEARCH.CLUSTERINFO"
"""A command that only a query engine with a coordinator has."""


MARGIN = 5.0
"""Seconds to wait beyond a query's own TIMEOUT."""

QUICK_TIMEOUT = 30.0
"""Seconds to wait for search commands whose work does not grow with the data."""


_FIRST_WORD = re.compile(rb"\*\d+\r\n\$\d+\r\n([^\r]*)\r\n")


_OWN_LIMIT = re.compile(rb"\$7\r\nTIMEOUT\r\n\$\d+\r\n(\d+)\r\n")


_DONE_BEFORE = {
    "FT.CREATE": Refusal.INDEX_EXISTS,
    "FT.DROPINDEX": Refusal.INDEX_NOT_FOUND,
    "FT.ALIASADD": Refusal.ALIAS_EXISTS,
    "FT.ALIASDEL": Refusal.ALIAS_NOT_FOUND,
}


def pack(command: Iterable[Arg]) -> bytes:
    """Packs a command for the wire, as an array of bulk strings (RESP2 and RESP3)."""
    parts = [arg if isinstance(arg, bytes) else to_bytes(str(arg)) for arg in command]
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


Parts = tuple[bytes | memoryview, ...]
"""A packed command in parts; joining all commands of a request at once is faster."""


class Request(NamedTuple):
    """Packed commands that are sent together.

    Args:
        commands: the packed commands
        items: the item that each command is about, for the reader of the replies
        keys: the key of each command; None for search commands, which have no keys
    """

    commands: Sequence[Parts]
    items: Sequence[Any]
    keys: Sequence[bytes] | None = None

    def packed(self) -> bytes:
        """Joins all commands for the wire."""
        return b"".join(chain.from_iterable(self.commands))


def pack_queries(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs search commands.

    Args:
        commands: the commands
        items: the item that each command is about
    """
    return Request([(pack(command),) for command in commands], items)


def pack_keyed(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs commands whose first argument is their key, as bytes.

    Args:
        commands: the commands
        items: the item that each command is about
    """
    packed: list[Parts] = []
    keys = []
    for command in commands:
        packed.append((pack(command),))
        keys.append(command[1])
    return Request(packed, items, cast("list[bytes]", keys))


IF_HELD = (
    "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then "
    "return redis.error_reply('FENCED another process has changed the index') end "
)
"""The beginning of a script that goes on only if its first key holds its first argument."""

# The number of arguments of the test stands before it; its last key is that of the document, which
# is declared, so that a cluster can route it.
_IF_PASSED = (
    "local at = #KEYS local last = at + tonumber(ARGV[at]) if last > at then "
    "local found = redis.pcall(ARGV[at + 1], KEYS[#KEYS], unpack(ARGV, at + 2, last)) "
    "if not found or found == 0 then return false end "
    "if type(found) == 'table' and found.err then "
    "if found.err:find('WRONGTYPE') or found.err:find('wrong Redis type') then return false end "
    "return found end end "
    "return redis.call(unpack(ARGV, last + 1))"
)
_IF_HELD_AND_PASSED = IF_HELD + _IF_PASSED

EXISTS: tuple[str, ...] = ("EXISTS",)
"""The test whether a key exists; see :func:`pack_if_passed`."""


def pack_if_passed(
    commands: Iterable[Sequence[Arg]],
    items: Sequence[Any],
    test: Sequence[str] = EXISTS,
    held: tuple[str, str] | None = None,
) -> Request:
    """Packs commands that run only if their key passes a test; the reply is None if it does not.

    Args:
        commands: the commands; their first argument is their key, as bytes
        items: the item that each command is about
        test: a command without its key; it must not return 0 or None, or find a value of another
            type; empty for none
        held: another key, and the value without which all commands are refused
    """
    lease, value = ([held[0]], [held[1]]) if held else ([], [])
    script = _IF_HELD_AND_PASSED if held else _IF_PASSED
    head = [script, 1 + len(lease), *lease]
    tested = [*value, len(test), *test]
    return _pack_scripts((([*head, c[1], *tested, *c], c[1]) for c in commands), items)


_UNLINK_IF_EQUAL = (
    "return redis.pcall('HGET', KEYS[1], ARGV[1]) == ARGV[2] and redis.call('UNLINK', KEYS[1])"
)


def pack_unlink_if_equal(held: Iterable[tuple[bytes, str, bytes]], items: Sequence[Any]) -> Request:
    """Packs commands that delete HASHes if a field still holds a value.

    Args:
        held: keys, fields and values
        items: the item that each command is about
    """
    scripts = (([_UNLINK_IF_EQUAL, 1, *each], each[0]) for each in held)
    return _pack_scripts(scripts, items)


def _pack_scripts(scripts: Iterable[tuple[Sequence[Any], Arg]], items: Sequence[Any]) -> Request:
    """Packs scripts, given with the key of the document that each is about."""
    packed: list[Parts] = []
    keys = []
    for script, key in scripts:
        packed.append((pack(["EVAL", *script]),))
        keys.append(key)
    return Request(packed, items, cast("list[bytes]", keys))


def read_name(packed: bytes) -> str:
    """Returns the name of a packed command."""
    found = _FIRST_WORD.match(packed)
    return found[1].decode() if found else ""


def get_reply_timeout(packed: bytes) -> float | None:
    """Returns how long to wait for the reply to a packed command.

    A query with a TIMEOUT of its own needs little more than that; most other commands are fast.

    Args:
        packed: the command, as :func:`pack` packs it

    Returns:
        the timeout in seconds; None to use the connection's socket timeout
    """
    name = read_name(packed)
    if not is_search_command(name) or may_take_long(name):
        return None
    found = _OWN_LIMIT.search(packed)
    if found is None:
        return QUICK_TIMEOUT
    own = int(found[1]) / 1000
    return own + MARGIN if own else None


def is_search_command(name: str) -> bool:
    """Returns whether a command, given its name, is one of the query engine."""
    return name.startswith("FT.")


def changes_index(name: str) -> bool:
    """Returns whether a command creates, changes or drops an index or alias."""
    return name.startswith(("FT.CREATE", "FT.DROPINDEX", "FT.ALTER", "FT.ALIAS"))


def may_take_long(name: str) -> bool:
    """Returns whether a command other than a query takes longer the more documents there are."""
    return name == "FT.DROPINDEX"


def read_index_name(command: Sequence[Any]) -> str | None:
    """Returns the index name that a command uses or creates; None for other commands.

    Commands that drop an index or alias do not count.
    """
    at = {"FT.DROPINDEX": 0, "FT.ALIASDEL": 0, "FT.ALIASADD": 2, "FT.ALIASUPDATE": 2}
    place = at.get(str(command[0]), 1)
    if not place or len(command) <= place:
        return None
    name = command[place]
    return to_text(name) if isinstance(name, bytes) else str(name)


def make_lookup(name: str) -> Command:
    """Returns a command that a node refuses if it lacks an index or alias."""
    return ["FT.EXPLAIN", name, "*"]


def is_already_done(command: Sequence[Any], refusal: str) -> bool:
    """Returns whether the refusal of a retried command means that the first attempt succeeded.

    Args:
        command: the command, which was retried because its first reply was lost
        refusal: the error reply to the retry
    """
    done = _DONE_BEFORE.get(str(command[0]))
    return done is not None and recognise(refusal) is done


def to_text(value: bytes) -> str:
    """Decodes a key or tag; :func:`to_bytes` restores even invalid UTF-8."""
    return value.decode(errors="surrogateescape")


def to_bytes(value: str) -> bytes:
    """Encodes a key or tag; reverses :func:`to_text`."""
    return value.encode(errors="surrogateescape")


def to_dict(reply: Any) -> dict[Any, Any]:
    """Converts a map reply (a flat list in RESP2) to a dictionary."""
    return reply if isinstance(reply, dict) else dict(split_pairs(reply))


@parses(LIST)
def read_names(reply: Any) -> list[str]:
    """Reads the names of indexes in the reply to :data:`LIST`."""
    return list(map(to_text, reply))


@parses("SCAN")
def read_scan(reply: Any) -> tuple[int, list[bytes]]:
    """Reads the cursor and the keys in the reply to SCAN."""
    cursor, keys = reply
    if not all(isinstance(key, bytes) for key in keys):
        raise TypeError
    return int(cursor), keys


@parses("UNLINK, HDEL or JSON.DEL")
def add_counts(replies: list[Any]) -> int:
    """Returns the sum of replies that are numbers."""
    return sum(map(int, replies))


def decode(reply: Any) -> Any:
    """Decodes all byte strings in a reply."""
    if isinstance(reply, bytes):
        return reply.decode(errors="replace")
    if isinstance(reply, dict):
        return {decode(name): decode(value) for name, value in reply.items()}
    if isinstance(reply, (list, tuple)):
        return [decode(item) for item in reply]
    return reply


def split_pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """Yields the items of a flat list in pairs: RESP2 sends maps as flat lists."""
    return zip(flat[::2], flat[1::2], strict=True)
