"""Texts for the parts of a page that FiftyOne renders as Markdown."""

from __future__ import annotations


def escape(text: str) -> str:
    """Returns a text in which names of indexes, such as ``"birds~0f0f"``, are not struck through.

    Code between backticks stays as it is.
    """
    parts = text.split("`")
    parts[::2] = [part.replace("~", r"\~") for part in parts[::2]]
    return "`".join(parts)
