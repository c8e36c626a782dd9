"""One at a time: whoever makes, rebuilds or drops an index holds its lease meanwhile.

The lease is a key with an owner and an expiry. A thread renews it, so that it outlives its owner,
if that is killed, by a few seconds only.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.engine import commands
from fiftyone_redis.errors import FiftyOneRedisError, IndexMismatchError, ServerError

EXPIRY = 6.0
"""Seconds for which a lease is held without being renewed."""

_RENEWAL = 1.5
_POLL = 0.05

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)


class Lease:
    """The right to change what indexes an alias has. Use :func:`hold` to get one.

    Args:
        client: a client of the server
        alias: the alias
    """

    def __init__(self, client: Client, alias: str) -> None:
        self._client = client
        self._alias = alias
        self._key = commands.lease_key(alias)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def acquire(self) -> None:
        """Waits until nobody else has the lease, and takes it."""
        is_told = False
        while execute(self._client, *self._set("NX")) is None:
            if self._owns():
                break  # the reply to the first attempt was lost
            if not is_told:
                logger.info(
                    "Another process is changing the index %r; waiting for it to end", self._alias
                )
                is_told = True
            time.sleep(_POLL)
        self._thread.start()

    def seize(self) -> None:
        """Takes the lease, away from another owner if there is one.

        Where the server's memory is full, nobody has it then: what frees memory must work.
        """
        try:
            execute(self._client, *self._set())
        except ServerError:
            execute(self._client, "UNLINK", self._key)
        self._thread.start()

    def release(self) -> None:
        """Gives the lease back, unless somebody else has it by now; else it expires by itself."""
        self._ended.set()
        self._thread.join()
        try:
            if self._owns():
                execute(self._client, "UNLINK", self._key)
        except FiftyOneRedisError as error:
            logger.debug("The lease of %r was not given back: %s", self._alias, error)

    def check(self) -> None:
        """Makes sure, before something is changed, that the lease is still held.

        Raises:
            IndexMismatchError: if somebody else took it, or it expired
        """
        if not self._owns():
            raise IndexMismatchError(
                f"The index {self._alias!r} was dropped, or changed by another process, in the "
                "meantime; look at what it is now, and repeat this if need be."
            )

    def _keep(self) -> None:
        while not self._ended.wait(_RENEWAL):
            try:
                if not self._owns():
                    return
                execute(self._client, *self._set("XX"))
            except FiftyOneRedisError as error:
                logger.debug("The lease of %r was not renewed: %s", self._alias, error)

    def _owns(self) -> bool:
        found = execute(self._client, "GET", self._key)
        return found is not None and wire.to_text(found) == self._owner

    def _set(self, *condition: str) -> wire.Command:
        return ["SET", self._key, self._owner, "PX", round(1000 * EXPIRY), *condition]


@contextmanager
def hold(client: Client, alias: str, *, patient: bool = True) -> Iterator[Lease]:
    """Holds the lease of an alias; waits for another owner, or takes it away from that one.

    Args:
        client: a client of the server
        alias: the alias
        patient: whether to wait

    Raises:
        FiftyOneRedisError: if the server does not answer
    """
    lease = Lease(client, alias)
    if patient:
        lease.acquire()
    else:
        lease.seize()
    try:
        yield lease
    finally:
        lease.release()
