"""Walks the keys of a server or cluster with SCAN."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import Any

from redis.exceptions import RedisError

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.protocol.wire import read_scan

# The server does nothing else during a page: 4 ms here. Pages of 10,000 took 25 ms, and per key
# 1.6 times as long.
_PAGE = 2_500


def walk_keys(client: Client, prefix: str, kind: str | None = None) -> Iterator[list[bytes]]:
    """Yields pages of all keys with a prefix; a key may occur twice.

    Args:
        client: a client of the server
        prefix: the prefix
        kind: the type of the values, as TYPE names it; None for all types
    """
    pattern = _glob(prefix) + "*"
    return client.scan_nodes(lambda node: _scan(node, pattern, _PAGE, kind, ahead=True))


def draw_keys(client: Client, prefix: str, kind: str, scanned: int) -> list[bytes]:
    """Returns a few keys with a prefix, in the random order of the server's hash table.

    Args:
        client: a client of the server
        prefix: the prefix
        kind: the type of the values, as TYPE names it
        scanned: the number of keys that the server scans per page; pages without a match are
            skipped
    """
    pattern, nodes = _glob(prefix) + "*", client.list_primaries()
    pages = (found for node in nodes for found in _scan(node, pattern, scanned, kind, False))
    return next((found for found in pages if found), [])


def _scan(
    node: Server, pattern: str, count: int, kind: str | None, ahead: bool
) -> Iterator[list[bytes]]:
    """Yields pages of keys; a key may occur twice.

    A cursor is invalid after a restart or a failover. So all pages are read over one connection,
    and the scan starts over on a new one.
    """
    for attempt in node.retrying():
        with (
            attempt,
            borrow_connection(node) as connection,
            closing(_scan_over(connection, pattern, count, kind, ahead)) as pages,
        ):
            for found in pages:
                try:
                    yield found
                except GeneratorExit:
                    return  # the pending reply is read, so that the connection can be reused


def _scan_over(
    connection: Any, pattern: str, count: int, kind: str | None, ahead: bool
) -> Generator[list[bytes], None, None]:
    """Yields pages of keys; asks for the next page ahead of the use of each, or after it."""
    of_kind = [] if kind is None else ["TYPE", kind]

    def ask(cursor: int) -> None:
        connection.send_command("SCAN", cursor, "MATCH", pattern, "COUNT", count, *of_kind)

    ask(0)
    while True:
        with parsing("SCAN"):
            cursor, found = read_scan(connection.read_response())
        if cursor and ahead:
            ask(cursor)
        try:
            yield found
        except GeneratorExit:
            if cursor and ahead:
                with suppress(RedisError):  # which has closed the connection
                    connection.read_response()
            return
        if cursor == 0:
            return
        if not ahead:
            ask(cursor)


def _glob(text: str) -> str:
    """Escapes a text for use in a glob pattern."""
    return "".join(f"\\{c}" if c in "*?[]^\\" else c for c in text)
