"""What a client of one server and a client of a cluster have in common.

The kinds are in ``one_server.py`` and ``cluster_client.py``; both are clients of redis-py as well.
What a single server needs no care for has its plain form here; the cluster's client overrides it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis

from fiftyone_redis.connection import capabilities
from fiftyone_redis.connection.capabilities import Capabilities
from fiftyone_redis.connection.pool import try_command
from fiftyone_redis.connection.protocol.wire import Request, is_already_done
from fiftyone_redis.connection.retry import Attempts, RetryPolicy
from fiftyone_redis.connection.topology import Answer, ClusterState
from fiftyone_redis.connection.translate import translate, translate_errors
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    format_count,
    list_first,
)

Replies = Iterator[tuple[Sequence[Any], list[Any]]]
"""The items of each request, and the replies to its commands."""

Sender = Callable[[Sequence[Any]], Any]
"""Sends one command, and returns its reply."""


class BaseClient(ABC):
    """A client of Redis, which returns bytes, retries transient errors and translates errors."""

    is_cluster = False
    known_capabilities: Capabilities | None = None
    """What the server can do; None if it was not fetched yet."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The address of the server or of the cluster's primaries, without credentials."""

    @property
    @abstractmethod
    def retry_policy(self) -> RetryPolicy:
        """How often, and for how long, to retry."""

    @abstractmethod
    def list_primaries(self) -> list[Any]:
        """Returns clients of all primaries; for a single server, the client itself."""

    @abstractmethod
    def pick_node(self, failures: int = 0) -> Any:
        """Returns a client of the node for commands without keys.

        Args:
            failures: how many attempts failed; each failure moves on to the next node
        """

    @abstractmethod
    def wait_and_recover(self, attempts: Attempts, error: redis.RedisError) -> None:
        """Waits before the next attempt; refreshes the slot map, or closes idle connections.

        Args:
            attempts: the attempts so far
            error: the error of the last attempt

        Raises:
            ConnectionFailedError: if a cluster node is down, and no replica took over
            redis.RedisError: the error itself, if it is not retried
        """

    def retrying(self, retry_lost: bool = True) -> Iterator[Attempts]:
        """Yields an attempt until one succeeds; all work with the server is retried this way.

            for attempt in client.retrying():
                with attempt:
                    reply = ...

        Args:
            retry_lost: whether lost and refused connections are retried

        Raises:
            FiftyOneRedisError: instead of a redis-py exception in the ``with`` block that is not
                retried
        """
        attempts = Attempts(self.retry_policy, retry_lost, self._recover)
        while not attempts.is_over:
            yield attempts

    def _recover(self, attempts: Attempts, error: redis.RedisError) -> None:
        with translate_errors(self.address):
            self.wait_and_recover(attempts, error)

    @abstractmethod
    def exchange(self, requests: Iterable[Request]) -> Replies:
        """Sends requests, and yields their replies; the next request is already on its way.

        In a cluster each command goes to the node of its key. Unanswered commands are retried, so a
        command may run twice.

        Args:
            requests: the requests: packed commands, and the item that each command is about

        Yields:
            the items of a request, and the replies; server errors count as replies
        """

    @abstractmethod
    def _find_sender(self, name: str, failures: int) -> Sender:
        """Returns what sends a command of that name; it raises redis-py's exceptions."""

    def execute(self, *command: Any) -> Any:
        """Sends one command and returns its raw reply; retries transient errors.

        In a cluster the command goes to the node that holds its key; without a key, to any node.

        Raises:
            FiftyOneRedisError: instead of any redis-py exception
        """
        try:
            for attempt in self.retrying():
                with attempt:
                    try:
                        reply = self._find_sender(str(command[0]), attempt.failures)(command)
                    except redis.RedisError as error:
                        if not (attempt.was_lost and is_already_done(command, str(error))):
                            raise
                        reply = b"OK"  # a former attempt succeeded; only its reply was lost
        except (IndexNotFoundError, IndexMismatchError) as error:
            raise self._explain(command, error) from error.__cause__
        return reply

    def exchange_or_raise(self, requests: Iterable[Request]) -> Replies:
        """Sends requests as :meth:`exchange` does, but raises if a command fails.

        Args:
            requests: the requests: packed commands, and the id or key that each command is about

        Yields:
            the ids or keys of a request, and the replies

        Raises:
            ServerError: if the server refuses commands; the message names the first documents
        """
        for items, replies in self.exchange(requests):
            self.raise_errors(items, replies)
            yield items, replies

    def get_capabilities(self) -> Capabilities:
        """Returns what the server can do; fetches it on the first call.

        The nodes of a cluster are assumed to be alike.

        Raises:
            FiftyOneRedisError: if the server does not answer
        """
        if self.known_capabilities is not None:
            return self.known_capabilities
        with translate_errors(self.pick_node().address):
            return self.fetch_capabilities()

    def fetch_capabilities(self) -> Capabilities:
        """Does the same as :meth:`get_capabilities`, but raises redis-py's exceptions."""
        if self.known_capabilities is None:
            self.known_capabilities = capabilities.fetch(self.pick_node())
        return self.known_capabilities

    def needs_checks(self) -> bool:
        """Returns whether the server is a cluster whose answers may lack documents."""
        return False

    def fetch_state(self) -> ClusterState | None:
        """Fetches the cluster state; returns None if answers need no checks.

        Raises:
            redis.RedisError: if no node answers, or this user lacks the permission
        """
        return None

    def pick_coordinator(self, failures: int) -> Any:
        """Picks a node for search commands, as :meth:`pick_node` does."""
        return self.pick_node(failures)

    def send_checked(
        self,
        node: Any,
        packed: Sequence[bytes],
        before: ClusterState | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Sends search commands to one node, and returns complete answers.

        Args:
            node: a client of the node; for a single server, the client itself
            packed: the packed commands
            before: the required cluster state; None for the state of the last answer
            seconds: the timeout for each reply; None for the command's own

        Raises:
            redis.RedisError: if the commands cannot be sent, the node does not answer in time, or
                a cluster is not complete
        """
        del before  # of a cluster
        return Answer([try_command(node, each, seconds) for each in packed], None)

    def _explain(self, command: Sequence[Any], problem: FiftyOneRedisError) -> FiftyOneRedisError:
        """Returns the error to raise if a command failed."""
        del command  # a cluster looks at it
        return problem

    def raise_errors(self, ids: Sequence[str], replies: list[Any]) -> None:
        """Raises the first error among replies; the message names the first documents."""
        errors = [
            (id, reply)
            for id, reply in zip(ids, replies, strict=True)
            if isinstance(reply, redis.RedisError)
        ]
        if errors:
            problem = translate(errors[0][1], self.address)
            named = list_first([repr(id) for id, _ in errors])
            raise type(problem)(
                f"{problem} It concerns {format_count(len(errors), 'document')}: {named}."
            )
