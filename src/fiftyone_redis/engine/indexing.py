"""Waits while the server indexes documents that were there before: it answers from a part of them.

The server does so in the background after FT.CREATE, and after it has loaded its data anew. FT.INFO
says so, and nothing else does: a search then finds less, with no warning.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import commands, replies

_POLL_SECONDS = 0.02
_TOLD_AFTER_SECONDS = 1.0
_TOLD_EVERY_SECONDS = 10.0

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)


def wait_until_indexed(
    client: Client, name: str, progress: Callable[[int], None] | None = None
) -> Any:
    """Waits until an index has all documents, and tells how far it is where that takes long.

    Args:
        client: a client of the server
        name: the index's name, or an alias of it
        progress: called with the number of documents indexed since the last time

    Returns:
        the reply to FT.INFO

    Raises:
        IndexNotFoundError: if there is none of that name
    """
    done, next_line = 0, time.monotonic() + _TOLD_AFTER_SECONDS
    while True:
        reply = execute(client, *commands.info(name))
        state = replies.read_indexing(reply)
        if progress is not None:
            progress(state.documents - done)
        done = state.documents
        if state.is_complete:
            return reply
        if time.monotonic() >= next_line:
            logger.info(
                "Redis is still indexing %r (%.0f %%, %d documents); waiting for it to end",
                name,
                100 * state.share,
                state.documents,
            )
            next_line = time.monotonic() + _TOLD_EVERY_SECONDS
        time.sleep(_POLL_SECONDS)
