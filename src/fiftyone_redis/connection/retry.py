"""What may be tried again, how often, and how long to wait before it.

Whoever repeats must know that the first attempt may have arrived, even when its reply did not.

redis-py's own retrying is turned off. It repeats connecting within repeating a command, bounds no
total time, and leaves out what a failover answers; its backoff is used.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import redis
from redis.backoff import EqualJitterBackoff, NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from fiftyone_redis.connection.certificates import find_tls_error
from fiftyone_redis.connection.refusals import TRANSIENT, recognise
from fiftyone_redis.connection.translate import NoAnswerError

RETRIES = 20
"""How often something is tried again."""

RETRY_TIMEOUT = 30.0
"""Seconds after which nothing is tried again."""

_FIRST_WAIT = 0.05  # seconds, doubled each time
_LONGEST_WAIT = 5.0
_BACKOFF = EqualJitterBackoff(_LONGEST_WAIT, _FIRST_WAIT)
_WORTH_A_LINE = 1.0  # seconds of waiting, from which on the log tells

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)


class FailingOverError(MasterNotFoundError):
    """The sentinels know the service, but no primary of it is up at the moment."""


# Loading, failing over, try again, and ask another node of a cluster (MOVED is a kind of ASK for
# redis-py), as redis-py's exceptions.
_TRANSIENT = (
    BusyLoadingError,
    FailingOverError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
    AskError,
)
_LOST = (ConnectionError, TimeoutError)
_REFUSED = (AuthenticationError, AuthorizationError, NoAnswerError)


class RetryPolicy(Retry):
    """How often, and how long, to try again; kept where redis-py keeps its own rules.

    redis-py hands it to each connection, and tries once itself.

    Args:
        count: how often something is tried again
        seconds: after how many seconds nothing is tried again
    """

    __hash__ = Retry.__hash__

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(NoBackoff(), 0)
        self.count = count
        self.seconds = seconds

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RetryPolicy)
            and self.count == other.count
            and self.seconds == other.seconds
        )


def get_retry_policy(client: redis.Redis | redis.RedisCluster) -> RetryPolicy:
    """Returns a client's rules; a client that was not made here is left to its own."""
    # redis-py 8 has no get_retry() for a cluster, and redis-py 5 gives its rules to all nodes.
    found = client.retry if isinstance(client, redis.RedisCluster) else client.get_retry()
    return found if isinstance(found, RetryPolicy) else RetryPolicy(0, 0)


class Attempts:
    """The attempts at one piece of work: counts those that failed, and waits between them.

    Args:
        client: the client whose rules hold
        lost_too: whether a connection that is lost, or cannot be made, may be tried again
    """

    def __init__(self, client: redis.Redis | redis.RedisCluster, lost_too: bool = True) -> None:
        self._client = client
        self._lost_too = lost_too
        self.reset()

    def reset(self) -> None:
        """Begins the next piece of work: there was progress, and all attempts are left."""
        self.failures = 0
        self._began = time.monotonic()

    def wait_or_raise(self, error: RedisError) -> None:
        """Waits until the next attempt is to be made.

        Args:
            error: what the attempt ended with

        Raises:
            redis.RedisError: that error, if it is not to be tried again
        """
        self.failures += 1
        allowed = get_retry_policy(self._client)
        left = self._began + allowed.seconds - time.monotonic()
        if self.failures > allowed.count or left <= 0 or not self._is_retried(error):
            raise error
        wait = min(left, _BACKOFF.compute(self.failures))
        if wait >= _WORTH_A_LINE:
            kind = type(error).__name__
            logger.warning("Redis is not available (%s); trying again in %.1f s", kind, wait)
        time.sleep(wait)

    def _is_retried(self, error: RedisError) -> bool:
        return is_transient(error) or (self._lost_too and is_connection_lost(error))


def is_transient(error: Any) -> bool:
    """Returns whether a reply or error tells of a state that a server will leave by itself."""
    return isinstance(error, _TRANSIENT) or (
        isinstance(error, RedisError) and recognise(str(error)) in TRANSIENT
    )


def is_connection_lost(error: RedisError) -> bool:
    """Returns whether an error is that of a connection that may come back."""
    return isinstance(error, _LOST) and not (
        is_transient(error) or isinstance(error, _REFUSED) or find_tls_error(error)
    )


def close_idle_connections(client: redis.Redis) -> None:
    """Closes a client's idle connections: by now its address may lead to another server."""
    client.connection_pool.disconnect(inuse_connections=False)
