"""How the logic of the plugin tells its progress, whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[float, str], None]
"""Takes how much is done, 0 to 1, and what is being done."""


def count_progress(report: Report, total: int, doing: str) -> Callable[[int], None]:
    """Returns what takes numbers of things that were done, and reports their sum.

    Args:
        report: where to
        total: how many things there are
        doing: what is being done with them, for instance "Adding"
    """
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        report(done / max(1, total), f"{doing} {done:,} of {total:,}")

    return add
