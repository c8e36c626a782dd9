"""What real servers replied, from the recordings of the tests."""

import json
from functools import cache
from pathlib import Path

import hiredis
import redis
from redis.connection import DefaultParser

RECORDINGS = Path(__file__).parents[1] / "engine" / "recordings"


@cache
def replies(server: str) -> list[dict]:
    """Returns everything that was recorded of a server."""
    return json.loads((RECORDINGS / f"{server}.json").read_text())["replies"]


def reply(server: str, resp: int, *start: str, state: str | None = None):
    """Returns the first reply to a command that starts so, as redis-py hands it over undecoded.

    Args:
        server: which recording
        resp: the version of the protocol
        start: how the command starts
        state: the state that the server was in; None for any
    """
    raw = next(
        each["reply"]
        for each in replies(server)
        if each["resp"] == resp
        and each["command"][: len(start)] == list(start)
        and state in (None, each.get("state"))
    )
    reader = hiredis.Reader(
        protocolError=redis.InvalidResponse, replyError=DefaultParser(1024).parse_error
    )
    reader.feed(raw.encode())
    return reader.gets()
