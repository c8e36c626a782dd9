"""A lock with an expiry: only one process at a time creates, rebuilds or drops an index.

The lease is a key that holds its owner. A thread renews it, so it expires within seconds after the
owner is killed. An owner that lost the lease never gets it back: renewing, releasing and every
change behind its fence test the owner in the same step (a script) as they write.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import FiftyOneRedisError, IndexChangedError, ServerError
from fiftyone_redis.log import get_logger

EXPIRY = 6.0
"""Seconds after which a lease expires unless it is renewed."""

POLL = 0.05
"""Seconds between two looks at a lease that another process holds."""

_RENEWAL = 1.5
_IF_OWNED = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call({})"
_RENEW = _IF_OWNED.format("'SET', KEYS[1], ARGV[1], 'PX', ARGV[2]")
_RELEASE = _IF_OWNED.format("'UNLINK', KEYS[1]")

logger = get_logger(__name__)


class Lease:
    """The exclusive right to change the indexes of an alias. Use :func:`hold` to get one.

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
        self.fence = Fence(client, self._key, self._owner)

    def acquire(self) -> None:
        """Waits until the lease is free, and takes it."""
        is_logged = False
        while self._client.execute(*self._set("NX")) is None:
            if self._owns():
                break  # the reply to the first attempt was lost
            if not is_logged:
                log_waiting(self._alias)
                is_logged = True
            time.sleep(POLL)
        self._thread.start()

    def seize(self) -> None:
        """Takes the lease, even from another owner.

        If the server is out of memory, the lease is only deleted: dropping an index, which frees
        memory, must still work.
        """
        try:
            self._client.execute(*self._set())
        except ServerError:
            self._client.execute("UNLINK", self._key)
            self.fence = Fence(self._client, self._key, "")
        self._thread.start()

    def release(self) -> None:
        """Releases the lease, unless another owner has it by now. If that fails, it expires."""
        self._ended.set()
        if self._thread.ident is None:
            return  # it was never held
        if self._thread.is_alive():  # not if starting it was interrupted
            self._thread.join()
        try:
            self._client.execute("EVAL", _RELEASE, 1, self._key, self._owner)
        except FiftyOneRedisError as error:
            logger.debug("Could not release the lease of %r: %s", self._alias, error)

    def set_if_held(self, key: str, value: str) -> None:
        """Sets a key, in the same step as it tests that the lease is still held.

        Raises:
            IndexChangedError: if another owner has the lease, or it expired
        """
        try:
            self.fence.execute("SET", key, value)
        except IndexChangedError:
            # The first attempt may have succeeded, and its reply may have been lost.
            found = self._client.execute("GET", key)
            if found is None or wire.to_text(found) != value:
                raise

    def _keep(self) -> None:
        milliseconds = round(1000 * EXPIRY)
        while not self._ended.wait(_RENEWAL):
            try:
                renewed = self._client.execute(
                    "EVAL", _RENEW, 1, self._key, self._owner, milliseconds
                )
            except FiftyOneRedisError as error:
                logger.debug("Could not renew the lease of %r: %s", self._alias, error)
            else:
                if renewed is None:
                    return

    def _owns(self) -> bool:
        found = self._client.execute("GET", self._key)
        with parsing("GET", found):
            return found is not None and wire.to_text(found) == self._owner

    def _set(self, *condition: str) -> wire.Command:
        return ["SET", self._key, self._owner, "PX", round(1000 * EXPIRY), *condition]


def log_waiting(alias: str) -> None:
    """Logs that another process is changing an index, so that this one waits."""
    logger.info("Another process is changing the index %r; waiting for it to finish", alias)


@contextmanager
def hold(client: Client, alias: str, *, patient: bool = True) -> Iterator[Lease]:
    """Holds the lease of an alias; waits for another owner, or takes it from that owner.

    Args:
        client: a client of the server
        alias: the alias
        patient: whether to wait for another owner

    Raises:
        FiftyOneRedisError: if the server does not answer
    """
    lease = Lease(client, alias)
    # Whatever interrupts this, no thread must go on renewing the lease.
    try:
        if patient:
            lease.acquire()
        else:
            lease.seize()
        yield lease
    finally:
        lease.release()
