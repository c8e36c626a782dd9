"""Retries: which errors are transient, how often to retry, and how long to wait.

Transient errors are retried under one time budget. A command may have run even if its reply was
lost, so callers must be able to repeat it.

redis-py's own retries are turned off: they nest, have no time budget, and do not cover the errors
of a failover. Only its backoff is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

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

from fiftyone_redis.connection.protocol.deadline import NoAnswerError
from fiftyone_redis.connection.protocol.refusals import TRANSIENT, is_pool_exhausted, recognise
from fiftyone_redis.connection.tls_errors import find_tls_error
from fiftyone_redis.log import get_logger

RETRIES = 20
"""The default for the most retries of one operation."""

RETRY_TIMEOUT = 30.0
"""The default time budget for retries, in seconds."""

_FIRST_WAIT = 0.05  # seconds; doubled with each retry
_BUSY_WAIT = 0.01  # seconds between two looks for a free connection
_LONGEST_WAIT = 5.0
_BACKOFF = EqualJitterBackoff(_LONGEST_WAIT, _FIRST_WAIT)
_WORTH_A_LINE = 1.0  # seconds; longer waits are logged

logger = get_logger(__name__)


class FailingOverError(MasterNotFoundError):
    """The sentinels know the service, but its primary is down at the moment."""


class IncompleteClusterError(ClusterDownError):
    """Some shards are missing from search results; the message names them."""


# redis-py's exceptions for a loading or failing-over server, TRYAGAIN, and ASK (which includes
# MOVED).
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
    """How often, and for how long, to retry; stored as redis-py's own retry policy.

    redis-py passes it to each connection, and does not retry by itself.

    Args:
        count: the most retries of one operation
        seconds: the time budget for retries
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


def read_policy(given: Any) -> RetryPolicy:
    """Returns a client's own retry policy; no retries for a client that others made."""
    return given if isinstance(given, RetryPolicy) else RetryPolicy(0, 0)


class Attempts:
    """The attempts at one operation: counts failures, and waits between attempts.

    A ``with`` block is one attempt; the next one follows an error that is retried. See
    :meth:`~fiftyone_redis.connection.clients.base_client.BaseClient.retrying`.

    Args:
        policy: how often, and for how long, to retry
        retry_lost: whether lost and refused connections are retried
        recover: what to do after an error, besides waiting: :meth:`wait_or_raise` and more

    Attributes:
        failures: how many attempts failed since the last progress
        was_lost: whether a connection was lost, so that a command may have run without a reply
        is_over: whether an attempt succeeded
    """

    def __init__(
        self,
        policy: RetryPolicy,
        retry_lost: bool = True,
        recover: Callable[[Attempts, RedisError], None] | None = None,
    ) -> None:
        self._policy = policy
        self._retry_lost = retry_lost
        self._recover = recover or Attempts.wait_or_raise
        self.was_lost = self.is_over = False
        self.reset()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, RedisError):
            self.is_over = True
            return False
        if not (is_pool_exhausted(error) and self._wait_for_connection()):
            self._recover(self, error)
        return True

    def reset(self) -> None:
        """Starts over with all retries and the full time budget, after progress was made."""
        self.failures = 0
        self._began = time.monotonic()

    def wait_or_raise(self, error: RedisError) -> None:
        """Waits before the next attempt, or raises the error if there is none.

        Args:
            error: the error of the last attempt

        Raises:
            redis.RedisError: the error itself, if it is not retried
        """
        self.failures += 1
        self.was_lost |= is_connection_lost(error)
        left = self._began + self._policy.seconds - time.monotonic()
        if self.failures > self._policy.count or left <= 0 or not self._is_retryable(error):
            raise error
        wait = min(left, _BACKOFF.compute(self.failures))
        if wait >= _WORTH_A_LINE:
            kind = type(error).__name__
            logger.warning("Redis is not available (%s); retrying in %.1f s", kind, wait)
        time.sleep(wait)

    def _wait_for_connection(self) -> bool:
        """Waits a moment for a free connection; returns False if the time is over.

        The server is well, so this counts as no failure.
        """
        left = self._began + self._policy.seconds - time.monotonic()
        if self._policy.count == 0 or left <= 0:
            return False
        time.sleep(min(left, _BUSY_WAIT))
        return True

    def _is_retryable(self, error: RedisError) -> bool:
        return is_transient(error) or (self._retry_lost and is_connection_lost(error))


def is_transient(error: Any) -> bool:
    """Returns whether a reply is a transient error, which the server recovers from by itself."""
    return isinstance(error, _TRANSIENT) or (
        isinstance(error, RedisError) and recognise(str(error)) in TRANSIENT
    )


def is_connection_lost(error: RedisError) -> bool:
    """Returns whether an error is a lost or refused connection that may work again later."""
    return isinstance(error, _LOST) and not (
        is_transient(error) or isinstance(error, _REFUSED) or find_tls_error(error)
    )


def is_retryable(reply: Any) -> bool:
    """Returns whether a reply is an error that a retry may fix."""
    return isinstance(reply, RedisError) and (is_transient(reply) or is_connection_lost(reply))
