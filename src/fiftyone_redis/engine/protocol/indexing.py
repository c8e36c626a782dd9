"""Waits until the server has indexed all documents.

After FT.CREATE, and after a restart, the server indexes existing documents in the background. Until
it is done, searches miss documents without a warning; only FT.INFO shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine.protocol import commands, index_info
from fiftyone_redis.log import get_logger

_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 5.0
_POLL_PAUSE = 20  # times as long as FT.INFO took, which keeps the server: 0.2 s for a large graph
_LOG_AFTER_SECONDS = 1.0
_LOG_EVERY_SECONDS = 10.0

logger = get_logger(__name__)


def wait_until_indexed(
    client: Client, name: str, progress: Callable[[int], None] | None = None
) -> Any:
    """Waits until an index has all documents; logs the progress if that takes long.

    Args:
        client: a client of the server
        name: the name or alias of the index
        progress: called with the number of documents indexed since the last call

    Returns:
        the reply to FT.INFO

    Raises:
        IndexNotFoundError: if there is no such index
    """
    done, next_log = 0, time.monotonic() + _LOG_AFTER_SECONDS
    while True:
        asked = time.monotonic()
        reply = client.execute(*commands.info(name))
        took = time.monotonic() - asked
        state = index_info.read_indexing(reply)
        if progress is not None:
            progress(state.documents - done)
        done = state.documents
        if state.is_complete:
            return reply
        if time.monotonic() >= next_log:
            logger.info(
                "Redis is still indexing %r (%.0f %%, %d documents); waiting for it to finish",
                name,
                min(100 * state.share, 99),  # the server counts keys twice that it scans twice
                state.documents,
            )
            next_log = time.monotonic() + _LOG_EVERY_SECONDS
        time.sleep(min(max(_POLL_SECONDS, _POLL_PAUSE * took), _LONGEST_POLL_SECONDS))
