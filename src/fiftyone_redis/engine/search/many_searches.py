"""Searches a graph for the neighbours of many documents, with several batches in flight.

The server walks a graph for one query while this process reads the replies to others. Neither holds
more than a few batches, however many queries there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from threading import Event
from typing import Any, TypeVar

from fiftyone_redis.connection.client import Client
from fiftyone_redis.engine.schema.options import tuning_options
from fiftyone_redis.engine.schema.schema import Schema

BATCH = 64
"""The number of queries that one connection sends before the next batch."""

_TICK = 0.5  # seconds
_CONNECTIONS = 4  # the server works on one batch while the replies to others are read

Part = TypeVar("Part")
Found = TypeVar("Found")


def are_many(schema: Schema, queries: int) -> bool:
    """Returns whether queries are sent in batches: brute force takes all of them at once."""
    return schema.algorithm != "FLAT" and queries > BATCH


def batches(count: int) -> Iterator[slice]:
    """Yields slices of ``count`` queries, of :data:`BATCH` each."""
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


def run_in_flight(
    client: Client,
    work: Callable[[Part], Found],
    parts: Iterable[Part],
    tick: Callable[[int], None] | None = None,
    is_over: Event | None = None,
) -> Generator[Found, None, None]:
    """Does some work for each part, for a few parts at a time, and yields the results in order.

    If it is stopped, by an error or by Ctrl-C, the parts that are under way are finished, so that
    no connection is left with unread replies, and no others are begun.

    Args:
        client: the client whose connections the work uses
        work: what is done for a part, in a thread of its own
        parts: the parts; the next one is taken shortly before its work begins
        tick: called with 0 again and again while a part takes long; it may raise to end the work
        is_over: set at the end, early or not; work that takes long may look at it, and give up
    """
    most = client.pick_node().connection_pool.max_connections
    threads = min(_CONNECTIONS, most)
    pending: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(threads, "fiftyone-redis-search") as pool:
        try:
            for part in parts:
                pending.append(pool.submit(work, part))
                if len(pending) > threads:
                    yield _wait_for(pending.popleft(), tick)
            while pending:
                yield _wait_for(pending.popleft(), tick)
        finally:
            if is_over is not None:
                is_over.set()
            for each in pending:
                each.cancel()


def _wait_for(future: Future[Found], tick: Callable[[int], None] | None) -> Found:
    while tick is not None and not wait([future], _TICK).done:
        tick(0)
    return future.result()


def choose_candidates(schema: Schema, candidates: int) -> Schema:
    """Returns the schema of a graph with another default for the candidates of a search.

    Args:
        schema: the index; what was set for it stays
        candidates: their number; more are kept where a query asks for more neighbours
    """
    chosen: dict[str, Any] = {
        option.name: candidates
        for option in tuning_options(schema.algorithm)
        if option.per_query and getattr(schema, option.name) == option.default
    }
    return replace(schema, **chosen)
