"""What the demo prints: one aligned line per step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import click

_STEP, _WHAT, _TIME, _SHARE = 16, 66, 9, 13
_T = TypeVar("_T")


def heading(title: str, time: str = "", share: str = "") -> None:
    """Prints the title of a group of steps.

    Args:
        title: the title
        time: the name of the column of times
        share: the name of the column of shares
    """
    click.echo()
    text = f"{title:<{_STEP + _WHAT}}{time:>{_TIME}}{share:>{_SHARE}}"
    click.secho(text.rstrip(), bold=True)


def line(step: str, what: str, seconds: float | None = None, share: float | None = None) -> None:
    """Prints one step.

    Args:
        step: its name
        what: what it did
        seconds: how long it took, in seconds, if that is of interest
        share: the share of neighbours that carry the query's label, from 0 to 1, if it is known
    """
    time = "" if seconds is None else _duration(seconds)
    percent = "" if share is None else f"{share:.1%}"
    click.echo(f"{step:<{_STEP}}{what:<{_WHAT}}{time:>{_TIME}}{percent:>{_SHARE}}".rstrip())


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """Does some work and takes the time.

    Args:
        work: what is done

    Returns:
        what it returns, and how long it took, in seconds
    """
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
