"""Commands and replies as they go over the wire, and what they say of themselves. No sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from fiftyone_redis.connection.refusals import Refusal, recognise

Arg = str | bytes | int | float


Command = list[Arg]


SEARCH = "FT.SEARCH"
"""The command that tells whether there is a query engine."""


LIST = "FT._LIST"
"""The command that lists indexes; in a cluster, those of the first shard or of the node itself."""

COORDINATOR = "SEARCH.CLUSTERINFO"
"""A command that only a query engine knows that answers for all nodes of a cluster."""


_FIRST_WORD = re.compile(rb"\*\d+\r\n\$\d+\r\n([^\r]*)\r\n")


_OWN_LIMIT = re.compile(rb"\$7\r\nTIMEOUT\r\n\$\d+\r\n(\d+)\r\n")


_DONE_BEFORE = {
    "FT.CREATE": Refusal.INDEX_EXISTS,
    "FT.DROPINDEX": Refusal.INDEX_NOT_FOUND,
    "FT.ALIASADD": Refusal.ALIAS_EXISTS,
    "FT.ALIASDEL": Refusal.ALIAS_NOT_FOUND,
}


def pack(command: Iterable[Arg]) -> bytes:
    """Returns a command as it goes over the wire: an array of bulk strings, in RESP2 and RESP3."""
    parts = [arg if isinstance(arg, bytes) else to_bytes(str(arg)) for arg in command]
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


Parts = tuple[bytes | memoryview, ...]
"""A packed command in pieces: all commands of a request are joined at once, as that takes time."""


class Request(NamedTuple):
    """Packed commands that are sent together.

    Args:
        commands: each command as it goes over the wire
        items: what each of them is about, for those who read the replies
        keys: the key of each of them; None for commands of the query engine, which have none
    """

    commands: Sequence[Parts]
    items: Sequence[Any]
    keys: Sequence[bytes] | None = None

    def packed(self) -> bytes:
        """Returns all commands as they go over the wire."""
        return b"".join(chain.from_iterable(self.commands))


def pack_queries(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs commands of the query engine.

    Args:
        commands: the commands
        items: what each of them is about
    """
    return Request([(pack(command),) for command in commands], items)


def pack_keyed(commands: Iterable[Sequence[Arg]], items: Sequence[Any]) -> Request:
    """Packs commands that have their key, as bytes, as their second word.

    Args:
        commands: the commands
        items: what each of them is about
    """
    packed: list[Parts] = []
    keys = []
    for command in commands:
        packed.append((pack(command),))
        keys.append(command[1])
    return Request(packed, items, cast("list[bytes]", keys))


def read_name(packed: bytes) -> str:
    """Returns the name of a packed command."""
    found = _FIRST_WORD.match(packed)
    return found[1].decode() if found else ""


def read_query_timeout(packed: bytes) -> float | None:
    """Returns the seconds after which a packed query is to be given up; None if it does not say."""
    found = _OWN_LIMIT.search(packed)
    return int(found[1]) / 1000 if found else None


def is_search_command(name: str) -> bool:
    """Returns whether the query engine answers a command, given its name."""
    return name.startswith("FT.")


def changes_index(name: str) -> bool:
    """Returns whether a command makes, changes or removes an index, or an alias."""
    return name.startswith(("FT.CREATE", "FT.DROPINDEX", "FT.ALTER", "FT.ALIAS"))


def may_take_long(name: str) -> bool:
    """Returns whether the work of a command grows with the documents, though it is no query."""
    return name == "FT.DROPINDEX"


def read_index_name(command: Sequence[Any]) -> str | None:
    """Returns the name of the index that a command needs, or is to make; None for other commands.

    An index or alias that is to be removed is not needed.
    """
    at = {"FT.DROPINDEX": 0, "FT.ALIASDEL": 0, "FT.ALIASADD": 2, "FT.ALIASUPDATE": 2}
    place = at.get(str(command[0]), 1)
    if not place or len(command) <= place:
        return None
    name = command[place]
    return to_text(name) if isinstance(name, bytes) else str(name)


def make_lookup(name: str) -> Command:
    """Returns a command that a node refuses if it does not know an index or alias itself."""
    return ["FT.EXPLAIN", name, "*"]


def is_already_done(command: Sequence[Any], refusal: str) -> bool:
    """Returns whether a refusal tells that a command had been carried out before.

    Args:
        command: a command that was sent again, since the first time no reply came
        refusal: what the server says now
    """
    done = _DONE_BEFORE.get(str(command[0]))
    return done is not None and recognise(refusal) is done


def to_text(value: bytes) -> str:
    """Returns a key or tag as text; bytes that are none can be turned back by :func:`raw`."""
    return value.decode(errors="surrogateescape")


def to_bytes(value: str) -> bytes:
    """Returns the bytes of a key or tag."""
    return value.encode(errors="surrogateescape")


def to_dict(reply: Any) -> dict[Any, Any]:
    """Returns a reply that is a map in RESP3, and a flat list in RESP2, as a dictionary."""
    return reply if isinstance(reply, dict) else dict(split_pairs(reply))


def decode(reply: Any) -> Any:
    """Returns a reply with its byte strings as text."""
    if isinstance(reply, bytes):
        return reply.decode(errors="replace")
    if isinstance(reply, dict):
        return {decode(name): decode(value) for name, value in reply.items()}
    if isinstance(reply, (list, tuple)):
        return [decode(item) for item in reply]
    return reply


def split_pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """Yields the items of a flat list in pairs, as RESP2 has maps."""
    return zip(flat[::2], flat[1::2], strict=True)
