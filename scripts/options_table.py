"""Writes the settings of an index into the table of docs/guide.md, from the package's own table."""

from __future__ import annotations

import re
from pathlib import Path

from fiftyone_redis.engine.options import OPTIONS, Option

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"

_PLACE = re.compile(r"(<!-- options:.*?-->\n).*?(<!-- end of options -->)", re.DOTALL)


def table() -> str:
    """Returns the table in Markdown."""
    head = "| setting | algorithm | default | |\n|---|---|---|---|\n"
    return head + "".join(map(_row, OPTIONS.values()))


def filled(text: str) -> str:
    """Returns the guide with the table where it belongs."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table()}\n{place[2]}", text)


def _row(option: Option) -> str:
    others = [_code(choice) for choice in option.choices if choice != option.default]
    text = option.text + (f"; or {', '.join(others)}" if others else "")
    return f"| `{option.name}` | {option.algorithm or 'all'} | {_code(option.default)} | {text} |\n"


def _code(value: str | int) -> str:
    return f'`"{value}"`' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    GUIDE.write_text(filled(GUIDE.read_text()))
