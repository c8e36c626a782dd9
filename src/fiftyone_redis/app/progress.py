"""Progress reports of the plugin's work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fiftyone_redis.app.jobs import Report
from fiftyone_redis.engine.search.planner import describe_time

__all__ = ["Report", "count_progress", "follow_bar", "follow_long_work"]

_PACE_IS_KNOWN = 0.01  # of the work that a bar shows


def count_progress(report: Report, total: int, doing: str) -> Callable[[int], None]:
    """Returns a function that adds up counts of finished items, and reports the sum.

    Args:
        report: the receiver of the reports
        total: the number of items
        doing: a verb for the work, such as "Adding"
    """
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        report(done / max(1, total), f"{doing} {done:,} of {total:,}")

    return add


def follow_bar(report: Report, doing: str) -> Callable[[Any], None]:
    """Returns a callback for FiftyOne's progress bars, which reports what they count.

    Args:
        report: the receiver of the reports
        doing: a verb for the work, such as "Reading"
    """

    def follow(bar: Any) -> None:
        report(bar.progress or 0.0, f"{doing} {bar.iteration:,} of {bar.total or 0:,}")

    return follow


def follow_long_work(report: Report) -> tuple[Callable[[Any], None], Callable[[str, float], None]]:
    """Returns callbacks for work that announces how long it takes, and then shows progress bars.

    Args:
        report: the receiver of the reports

    Returns:
        a callback for FiftyOne's progress bars, whose reports go on saying what was announced; and
        one that is called with a sentence about the work, and how many seconds it takes
    """
    announced, began = 0.0, 0.0

    def announce(text: str, seconds: float) -> None:
        nonlocal announced, began
        announced, began = seconds, time.monotonic()
        report(0, text)

    def follow(bar: Any) -> None:
        text = f"{bar.caption} {bar.iteration:,} of {bar.total or 0:,}"
        if began:
            # The server may have more to do than this work.
            seconds = max(announced, time.monotonic() - began + _estimate_rest(bar))
            text = f"About {describe_time(seconds)} in all. {text}"
        report(bar.progress or 0.0, text)

    return follow, announce


def _estimate_rest(bar: Any) -> float:
    """Returns how many seconds a bar goes on at its pace so far; 0 if that is not known yet."""
    done = bar.progress or 0.0
    passed: float = bar.elapsed_time or 0.0
    return passed * (1 - done) / done if done >= _PACE_IS_KNOWN else 0.0
