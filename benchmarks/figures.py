"""Reads single figures out of a run's results, and writes them for people."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs import ENVIRONMENT


@dataclass(frozen=True)
class Series:
    """Several measurements of one thing.

    Args:
        values: the measurements, in seconds or bytes
        missing: why there are none; empty if there are some
    """

    values: tuple[float, ...] = ()
    missing: str = ""

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def rate(self, count: int) -> Series:
        """Returns how many of ``count`` things were done per second."""
        return Series(tuple(count / value for value in self.values), self.missing)


@dataclass(frozen=True)
class Unit:
    """How a kind of figure is written.

    Args:
        name: what stands after the number
        size: how much of what was measured makes one of it
        more: whether more of it is better
    """

    name: str
    size: float = 1.0
    more: bool = False

    def text(self, value: float) -> str:
        """Writes a value."""
        return f"{digits(value / self.size)}{self.name}"

    def spread(self, found: Series) -> str:
        """Writes the median and, if there are several measurements, the smallest and largest."""
        if found.missing:
            return f"none: {found.missing}"
        text = self.text(found.median)
        if len(found.values) == 1:
            return f"{text} (one run)"
        low, high = (digits(extreme(found.values) / self.size) for extreme in (min, max))
        return f"{text} ({low}..{high})"


SECONDS = Unit(" s")
MILLISECONDS = Unit(" ms", 1e-3)
RATE = Unit("/s", more=True)
MEGABYTES = Unit(" MB", 1e6)


def digits(value: float, most: int = 3) -> str:
    """Writes a number to a few significant digits."""
    if not value:
        return "0"
    after = most - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, after):,.{max(0, after)}f}"


def series(works: dict[str, Any], work: str, key: str = "seconds") -> Series:
    """Returns the measurements of a work of one contender."""
    figures = works.get(work)
    if figures is None:
        return Series(missing=works.get(ENVIRONMENT, {}).get("error", "not measured"))
    if key not in figures:
        return Series(missing=figures.get("error", "not measured"))
    return Series(tuple(figures[key]))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown, with columns of equal width for those who read the source."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
