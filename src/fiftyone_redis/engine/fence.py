"""Changes that are made only while a key holds a value: a lease its owner, a record its text.

A process can be suspended for longer than its lease lasts, by a debugger or a laptop that sleeps.
What it does when it goes on must not touch what others have made of the index meanwhile. So a
script tests the key in the same step as it makes the change. In a cluster, documents and indexes
are on other nodes than the key, so there the key is tested just before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.errors import IndexChangedError

_EXECUTE = wire.IF_HELD + "return redis.pcall(unpack(ARGV, 2))"
_EXECUTE_ALL = (
    wire.IF_HELD
    + "local at = 2 while at <= #ARGV do local last = at + tonumber(ARGV[at]) "
    + "local reply = redis.pcall(unpack(ARGV, at + 1, last)) "
    + "if type(reply) == 'table' and reply.err then return reply end at = last + 1 end"
)


class Fence:
    """Lets changes pass while a key holds a value.

    Args:
        client: a client of the server
        key: the key
        value: the value; empty if the key must not exist
    """

    def __init__(self, client: Client, key: str, value: str) -> None:
        self._client = client
        self.key = key
        self.value = value

    def execute(self, *command: wire.Arg) -> Any:
        """Sends a command that changes something.

        Raises:
            IndexChangedError: if the key holds another value by now; nothing was changed then
        """
        if self._client.is_cluster and not self._is_beside(command[1]):
            self._check()
            return self._client.execute(*command)
        return self._client.execute("EVAL", _EXECUTE, 1, self.key, self.value, *command)

    def execute_all(self, commands: Sequence[wire.Command]) -> None:
        """Sends commands in one step; in a cluster, one after the other. An error ends them.

        Raises:
            IndexChangedError: if the key holds another value by now; nothing was changed then
        """
        if self._client.is_cluster:
            for command in commands:
                self.execute(*command)
            return
        counted = [part for command in commands for part in (len(command), *command)]
        self._client.execute("EVAL", _EXECUTE_ALL, 1, self.key, self.value, *counted)

    def pack(
        self,
        commands: Iterable[Sequence[wire.Arg]],
        items: Sequence[Any],
        test: Sequence[str] = wire.EXISTS,
    ) -> wire.Request:
        """Packs commands that run only if their key passes a test.

        Args:
            commands: the commands; their first argument is their key, as bytes
            items: the item that each command is about
            test: as for :func:`~fiftyone_redis.connection.protocol.wire.pack_if_passed`

        Raises:
            IndexChangedError: in a cluster, if the key of this fence holds another value by now
        """
        if self._client.is_cluster:
            self._check()
            return wire.pack_if_passed(commands, items, test)
        return wire.pack_if_passed(commands, items, test, (self.key, self.value))

    def _is_beside(self, key: wire.Arg) -> bool:
        """Returns whether another key is on the same node, since both begin with one hash tag."""
        tag, end, _ = self.key.partition("}")
        return str(key).startswith(tag + end)

    def _check(self) -> None:
        found = self._client.execute("GET", self.key)
        if wire.to_text(found or b"") != self.value:
            raise IndexChangedError(
                "Another process dropped or changed the index meanwhile; check what it is now, "
                "and try again if necessary."
            )
