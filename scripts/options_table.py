"""The table of the settings of an index, from the package's own table of them."""

from __future__ import annotations

from fiftyone_redis.engine.schema.options import OPTIONS, Option


def table() -> str:
    """Returns the table in Markdown."""
    head = "| setting | algorithm | default | |\n|---|---|---|---|\n"
    return head + "".join(map(_row, OPTIONS.values()))


def _row(option: Option) -> str:
    others = [_code(choice) for choice in option.choices if choice != option.default]
    text = option.text + (f"; or {', '.join(others)}" if others else "")
    return f"| `{option.name}` | {option.algorithm or 'all'} | {_code(option.default)} | {text} |\n"


def _code(value: str | int) -> str:
    return f'`"{value}"`' if isinstance(value, str) else str(value)
