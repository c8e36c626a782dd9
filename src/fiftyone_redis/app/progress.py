"""Progress reports of the plugin's work."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Called with the share of the work that is done, 0..1, and a description of the work."""


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
