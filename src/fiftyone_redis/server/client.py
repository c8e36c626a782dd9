"""Short conversations with a server over its Unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

# one long query keeps a healthy server from answering anything else
ANSWER_TIMEOUT_S = 5.0


def client(socket: Path) -> redis.Redis:
    """Returns a client of the server that listens on a socket; it connects on first use."""
    return redis.Redis(
        unix_socket_path=str(socket),
        protocol=2,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def facts(socket: Path, section: str) -> dict[str, Any] | None:
    """Returns a section of the server's INFO, or None when no server listens.

    Args:
        socket: the server's socket
        section: for instance ``"server"``

    Returns:
        the facts by name

    Raises:
        redis.exceptions.RedisError: if a server is there but does not answer
    """
    try:
        with client(socket) as server:
            found: dict[str, Any] = server.info(section)
            return found
    except NoConnectionError:
        return None


def is_ready(socket: Path) -> bool:
    """Tells whether a server answers, and is done loading its data.

    INFO is asked, not PING, which a server whose disk is full refuses.
    """
    try:
        found = facts(socket, "persistence")
    except RedisError:
        return False
    return found is not None and not int(found["loading"])
