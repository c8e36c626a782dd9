"""What real servers replied, as it came over the wire: `tests/shared/recordings`."""

import json
from functools import cache
from pathlib import Path

import hiredis
import redis
from redis.connection import DefaultParser

FOLDER = Path(__file__).parent / "recordings"


def servers() -> list[str]:
    """Returns the names of the recorded servers."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def replies_of(server: str) -> list[dict]:
    """Returns all that a server was asked, and its replies, with the protocol of each."""
    return json.loads((FOLDER / f"{server}.json").read_text())["replies"]


def raw_reply(server: str, resp: int, *start: str, end: tuple[str, ...] = ()) -> str:
    """Returns the first reply to a command that starts, and ends, with certain arguments."""
    return next(
        reply["reply"]
        for reply in replies_of(server)
        if reply["resp"] == resp
        and tuple(reply["command"][: len(start)]) == start
        and tuple(reply["command"][len(reply["command"]) - len(end) :]) == end
    )


def parsed(raw: str):
    """Returns a reply as redis-py hands it over undecoded.

    Maps are dictionaries with bytes as keys; arrays and sets are lists; bulk, simple and verbatim
    strings are bytes; doubles are floats; errors are exceptions, whose text lacks the code if it is
    one that redis-py knows (`ERR`, `OOM`, `NOPERM` and such, but not `WRONGTYPE`).
    """
    reader = hiredis.Reader(
        protocolError=redis.InvalidResponse, replyError=DefaultParser(1024).parse_error
    )
    reader.feed(raw.encode())
    return reader.gets()


def reply(server: str, resp: int, *start: str, state: str | None = None):
    """Returns the first reply to a command that starts so, as redis-py hands it over undecoded.

    Args:
        server: which recording
        resp: the version of the protocol
        start: how the command starts
        state: the state that the server was in; None for any
    """
    return parsed(
        next(
            each["reply"]
            for each in replies_of(server)
            if each["resp"] == resp
            and each["command"][: len(start)] == list(start)
            and state in (None, each.get("state"))
        )
    )
