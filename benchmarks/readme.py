"""Writes the README's first table, from the goals of a run. Nothing else of the README changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from targets import Goal, goals

_ROWS = {
    "10 nearest in a view of 80 %": "search within a view of 80 % of the samples",
    "10 nearest in a view of 50 %": "of 50 %",
    "10 nearest in a view of 20 %": "of 20 %",
    "10 nearest in a view of 2 %": "of 2 %",
    "10 nearest in a view of 0.2 %": "of 0.2 %",
    "build an index": "upload, vectors per second",
    "read all embeddings back": "read all embeddings back",
    "server memory, float32": "memory of the server",
    "server memory, float16": "the same, as float16",
}
_FIRST = "| 50,000 vectors of 512 values |"


def fill(results: dict[str, Any], file: Path) -> None:
    """Puts a run's figures in the place of those that a README has."""
    lines = file.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(_FIRST))
    end = lines.index("", begin)
    lines[begin + 2 : end] = rows(results)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rows(results: dict[str, Any]) -> Iterator[str]:
    """Yields the rows: what is done, this package's figure, the other's, and how they relate."""
    known = {goal.work: goal for goal in goals(results)}
    for work, label in _ROWS.items():
        goal = known[work]
        yield f"| {label} | {_median(goal.ours)} | {_median(goal.theirs)} | {_ratio(goal)} |"


def _median(figure: str) -> str:
    """Returns a figure without its spread."""
    return figure.split(" (", maxsplit=1)[0]


def _ratio(goal: Goal) -> str:
    if goal.reached is None:
        return goal.verdict
    if "memory" in goal.work:
        return f"{float(goal.ratio):.2f} of it"
    times = f"{goal.ratio} \N{MULTIPLICATION SIGN}"
    return f"**{times}**" if float(goal.ratio) > 1 else times
