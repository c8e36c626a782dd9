"""Runs long work in the App with a progress bar, delegated or not, and shows what went wrong."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app.progress import Report
from fiftyone_redis.engine.errors import FiftyOneRedisError

_SECONDS = 0.2  # between two messages to the page

# What FiftyOne raises where an answer in a form does not fit its dataset is a ValueError.
_EXPECTED = (FiftyOneRedisError, ValueError)


def with_progress(ctx: Any, work: Callable[[Report], list[Any]]) -> Iterator[Any]:
    """Does some work, and yields messages to the App while it lasts.

    The work runs in a thread of its own, since it would hold up the messages. As a delegated
    operation it runs here, and tells its progress to FiftyOne's record of the operation.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        work: what to do; it returns messages to the App that come after it

    Raises:
        FiftyOneRedisError: if a delegated operation fails; else the failure is shown in the App
        ValueError: the same
    """
    if ctx.delegated:
        work(ctx.set_progress)
        return
    reports: queue.Queue[tuple[float, str] | None] = queue.Queue()
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(work, lambda progress, label: reports.put((progress, label)))
        future.add_done_callback(lambda _: reports.put(None))
        for progress, label in _latest(reports):
            yield ctx.trigger("set_progress", {"progress": progress, "label": label})
    try:
        then = future.result()
    except _EXPECTED as error:
        yield failure(ctx, error)
        return
    yield from then


def failure(ctx: Any, error: Exception) -> Any:
    """Returns a message to the App that shows an error until it is closed."""
    outputs = types.Object()
    outputs.view("problem", types.Error(label="It did not work", description=str(error)))
    shown = types.Property(outputs, view=types.View(label="Redis"))
    return ctx.trigger("show_output", {"outputs": shown.to_json(), "results": {}})


def _latest(reports: queue.Queue[tuple[float, str] | None]) -> Iterator[tuple[float, str]]:
    """Yields the last of the reports that came in, every now and then, until there are no more."""
    while True:
        report = reports.get()
        while report is not None and not reports.empty():
            report = reports.get()
        if report is None:
            return
        yield report
        time.sleep(_SECONDS)
