"""Runs long work with a progress bar in the App, delegated or not, and shows errors."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import FiftyOneRedisError

_SECONDS = 0.2  # between two messages to the page
_PATIENCE = 0.7  # seconds before the first of them


@dataclass(frozen=True)
class Outcome:
    """The result of some work.

    Args:
        text: a sentence about the result
        then: messages to send to the App afterwards
        is_complete: whether all was done that was asked for
    """

    text: str
    then: list[Any] = field(default_factory=list)
    is_complete: bool = True


# FiftyOne raises ValueError if an input of a form does not fit the dataset.
_EXPECTED = (FiftyOneRedisError, ValueError)


def run_with_progress(ctx: Any, name: str, work: Callable[[Report], Outcome]) -> Iterator[Any]:
    """Runs work, and yields messages to the App meanwhile.

    The work runs in its own thread, so that it does not block the messages. A delegated operation
    runs in this thread, and reports its progress to FiftyOne.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        name: what the work is called, such as "Create"
        work: the work to run

    Raises:
        FiftyOneRedisError: if a delegated operation fails; else the App shows the error
        ValueError: the same
    """
    if ctx.delegated:
        work(ctx.set_progress)
        return
    reports: queue.Queue[tuple[float, str] | None] = queue.Queue()
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(work, lambda progress, label: reports.put((progress, label)))
        future.add_done_callback(lambda _: reports.put(None))
        seen = False
        for progress, label in _latest_reports(reports):
            seen = True
            yield ctx.trigger("set_progress", {"progress": progress, "label": label})
    try:
        outcome = future.result()
    except _EXPECTED as error:
        yield _show(ctx, types.Error(label=f"{name} failed", description=str(error)))
        return
    yield from outcome.then
    view, variant = (
        (types.Success, "success") if outcome.is_complete else (types.Warning, "warning")
    )
    # The progress bar stays until it is closed or replaced.
    done = view(label=outcome.text)
    yield _show(ctx, done) if seen else ctx.ops.notify(outcome.text, variant)


def _show(ctx: Any, view: Any) -> Any:
    """Returns a message that makes the App show a view until it is closed."""
    outputs = types.Object()
    outputs.view("outcome", view)
    shown = types.Property(outputs).to_json()
    return ctx.trigger("show_output", {"outputs": shown, "results": {}})


def _latest_reports(reports: queue.Queue[tuple[float, str] | None]) -> Iterator[tuple[float, str]]:
    """Yields the latest report at regular intervals, until there are no more.

    Yields nothing for short work, which needs no progress bar.
    """
    latest: tuple[float, str] | None = None
    due = time.monotonic() + _PATIENCE
    while True:
        wait = None if latest is None else max(0.0, due - time.monotonic())
        try:
            latest = reports.get(timeout=wait)
        except queue.Empty:
            pass
        else:
            if latest is None:
                return
        if latest is not None and time.monotonic() >= due:
            yield latest
            latest, due = None, time.monotonic() + _SECONDS
