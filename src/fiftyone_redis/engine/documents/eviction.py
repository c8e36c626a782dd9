"""Notices that a server drops documents to make room for others.

The policies ``allkeys-*`` drop any key when the server is full, without a word to anybody.
https://redis.io/docs/latest/develop/reference/eviction/ describes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import AuthenticationError, ServerError, list_first
from fiftyone_redis.log import get_logger

_ADVICE = "run CONFIG SET maxmemory-policy noeviction on the server, or raise its maxmemory"

logger = get_logger(__name__)


def warn_if_evicting(client: Client) -> bool:
    """Logs a warning if a server may evict documents; returns whether it may."""
    policies = {_fetch_policy(node) for node in client.list_primaries()}
    evicting = sorted(policy for policy in policies if policy.startswith("allkeys"))
    if evicting:
        logger.warning(
            "Redis evicts any key once its memory is full (%s), vectors included; %s",
            evicting[0],
            _ADVICE,
        )
    return bool(evicting)


def refuse_lost(documents: Documents, ids: Sequence[str]) -> None:
    """Raises a :class:`ServerError` if documents that were just written are gone."""
    there = documents.find_existing(ids)
    lost = [repr(id) for id in ids if id not in there]
    if lost:
        raise ServerError(
            f"The server evicted {len(lost)} of {len(ids)} vectors that were just added "
            f"({list_first(lost)}), since its memory is full; {_ADVICE}, and add them again."
        )


def _fetch_policy(node: Client) -> str:
    """Returns the eviction policy of a server with a memory limit; empty if it has none."""
    try:
        info = node.execute("INFO", "memory")
    except (AuthenticationError, ServerError):
        return ""  # this user may not ask
    is_limited = int(info.get("maxmemory") or 0) > 0
    return str(info.get("maxmemory_policy", "")) if is_limited else ""
