"""What the demo reports: one aligned line per step, printed at once or handed to the caller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import click

_STEP, _WHAT, _TIME, _SHARE = 16, 66, 9, 13
_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
    """A step of the demo, or the heading of a group of steps.

    Args:
        step: its name
        what: what it did; empty for a heading
        seconds: how long it took, if that is of interest
        share: the share of neighbours that carry the query's label, from 0 to 1, if it is known
        columns: of a heading: the names of the columns of times and shares
    """

    step: str
    what: str = ""
    seconds: float | None = None
    share: float | None = None
    columns: tuple[str, str] | None = None

    def __str__(self) -> str:
        if self.columns is not None:
            time, share = self.columns
            text = f"{self.step:<{_STEP + _WHAT}}{time:>{_TIME}}{share:>{_SHARE}}"
            return "\n" + click.style(text.rstrip(), bold=True)
        time = "" if self.seconds is None else _duration(self.seconds)
        percent = "" if self.share is None else f"{self.share:.1%}"
        what = f"{self.step:<{_STEP}}{self.what:<{_WHAT}}"
        return f"{what}{time:>{_TIME}}{percent:>{_SHARE}}".rstrip()


_show: ContextVar[Callable[[Entry], None]] = ContextVar("show", default=click.echo)


@contextmanager
def reporting(show: Callable[[Entry], None]) -> Iterator[None]:
    """Hands what is reported in the ``with`` block to a function, which is to show it."""
    before = _show.set(show)
    try:
        yield
    finally:
        _show.reset(before)


def heading(title: str, time: str = "", share: str = "") -> None:
    """Reports the title of a group of steps.

    Args:
        title: the title
        time: the name of the column of times
        share: the name of the column of shares
    """
    _show.get()(Entry(title, columns=(time, share)))


def line(step: str, what: str, seconds: float | None = None, share: float | None = None) -> None:
    """Reports one step; see :class:`Entry`."""
    _show.get()(Entry(step, what, seconds, share))


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
