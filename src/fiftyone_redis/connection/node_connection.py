"""A connection to a node, on which the caller orders requests and replies."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import redis

from fiftyone_redis.connection.deadline import await_reply
from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.connection.pool import borrow_connection, read_address


class NodeConnection:
    """A connection to a node, and the error that broke it, if any.

    Args:
        node: a client of the node
        stack: returns the connection to its pool when closed
    """

    def __init__(self, node: redis.Redis, stack: ExitStack) -> None:
        self.address = read_address(node.connection_pool.connection_kwargs)
        self.connection: Any = None
        self.error: redis.RedisError | None = None
        try:
            self.connection = stack.enter_context(borrow_connection(node))
        except redis.RedisError as error:
            self.error = error

    def send(self, request: bytes) -> None:
        """Sends a request, unless the connection is broken."""
        if self.error is None:
            try:
                self.connection.send_packed_command([request])
            except redis.RedisError as error:
                self._mark_broken(error)

    def read_replies(self, count: int, seconds: float | None = None) -> list[Any]:
        """Reads replies; server errors, and the error that broke the connection, count as replies.

        Args:
            count: how many replies to read
            seconds: the timeout for each; None for the connection's socket timeout
        """
        found: list[Any] = []
        with parsing(f"a command at {self.address}"):
            while self.error is None and len(found) < count:
                try:
                    await_reply(self.connection, seconds)
                    found.append(self.connection.read_response())
                except redis.ResponseError as error:
                    found.append(error)
                except redis.RedisError as error:
                    self._mark_broken(error)
        return found + [self.error] * (count - len(found))

    def _mark_broken(self, error: redis.RedisError) -> None:
        self.error = error
        self.connection.disconnect()  # unread replies may follow
