"""What commands print: the result on stdout, as text or JSON; everything else on stderr.

While a command runs, whatever FiftyOne and other libraries print goes to stderr, so that stdout
holds the result alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import IO, Any, cast

import click

_STDOUT, _AS_JSON, _QUIET = (f"fiftyone_redis.{name}" for name in ("stdout", "json", "quiet"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"[\d.,]+( [kMG]?B)?")
_GAP = 2  # spaces between two columns
_NARROWEST = 4  # columns that a text keeps, however narrow the terminal is


def make_options() -> list[click.Option]:
    """Returns the options that all commands have: ``--json`` and ``--quiet``."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[_AS_JSON if parameter.name == "as_json" else _QUIET] = value

    kinds: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": remember}
    return [
        click.Option(["--json", "as_json"], help="Print the result as JSON.", **kinds),
        click.Option(["-q", "--quiet"], help="Print results and errors only.", **kinds),
    ]


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Sends what others print to stderr while the ``with`` block runs."""
    context = click.get_current_context()
    context.meta[_STDOUT] = sys.stdout
    if os.environ.get("NO_COLOR"):
        context.color = False
    if is_quiet():
        logging.disable(logging.WARNING)
    try:
        with redirect_stdout(cast("IO[str]", _Alias(sys.stderr))):
            yield
    finally:
        logging.disable(logging.NOTSET)


def is_quiet() -> bool:
    """Returns whether only results and errors are to be printed."""
    quiet: bool = click.get_current_context().meta.get(_QUIET, False)
    return quiet


def shows_progress() -> bool:
    """Returns whether progress bars are shown: on a terminal, unless the command is quiet."""
    return sys.stderr.isatty() and not is_quiet()


def print_result(value: Any, text: str) -> None:
    """Prints what was asked for.

    Args:
        value: the result, for ``--json``
        text: the result as people read it; nothing is printed if it is empty
    """
    if _is_json():
        text = json.dumps(value, indent=2, default=str)
    if text:
        click.echo(text, file=_stdout())


def print_part(text: str) -> None:
    """Prints a part of a result at once; ``--json`` waits for all of it."""
    if not _is_json():
        click.echo(text, file=_stdout())


def print_done(value: Any, text: str) -> None:
    """Prints what a command did; see :func:`print_result`. Quiet commands print only JSON."""
    if _is_json() or not is_quiet():
        print_result(value, text)


def print_note(text: str) -> None:
    """Prints a remark to stderr, unless the command is quiet."""
    if not is_quiet():
        click.echo(text, err=True)


def confirm(question: str, agreed: bool) -> None:
    """Asks a question on stderr, and ends the command unless the answer is yes.

    Args:
        question: the question
        agreed: whether the user agreed beforehand, so that nothing is asked
    """
    if not agreed:
        click.confirm(question, abort=True, err=True)


def format_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns rows in columns; numbers are aligned to the right.

    On a terminal, texts that do not fit its width lose their middle. Elsewhere, they are complete,
    and separated by tabs.
    """
    table = [[_CONTROL.sub("?", str(cell)) for cell in row] for row in rows]
    width = get_width()
    if width is None:
        return "\n".join("\t".join(row) for row in [heads, *table])
    columns = list(zip(heads, *table, strict=True))
    right = [all(map(_NUMBER.fullmatch, column[1:])) for column in columns]
    widths = _fit([max(map(_measure, column)) for column in columns], right, width)
    head, *lines = (_format_row(row, widths, right) for row in [heads, *table])
    return "\n".join([click.style(head, bold=True), *lines])


def format_pairs(pairs: Sequence[tuple[str, Any]]) -> str:
    """Returns names and values, one pair on each line."""
    longest = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{longest + _GAP}}{value}" for name, value in pairs)


def get_width() -> int | None:
    """Returns the width of the terminal that results are printed on; None if it is not one."""
    return shutil.get_terminal_size().columns if _stdout().isatty() else None


class _Alias:
    """A stream that is another one, but not equal to it.

    FiftyOne's progress bar replaces the stream of all log handlers that write to ``sys.stdout``;
    Python's own handler for stderr, which does not allow it, must not be among them.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _stdout() -> Any:
    return click.get_current_context().meta[_STDOUT]


def _is_json() -> bool:
    as_json: bool = click.get_current_context().meta.get(_AS_JSON, False)
    return as_json


def _fit(widths: list[int], are_numbers: list[bool], width: int) -> list[int]:
    """Narrows the widest columns of text until all columns fit a width."""
    widths = [*widths]
    texts = [column for column, is_number in enumerate(are_numbers) if not is_number]
    spare = width - _GAP * (len(widths) - 1)
    while texts and sum(widths) > spare:
        widest = max(texts, key=lambda column: widths[column])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _format_row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        shown = _shorten(cell, width)
        blank = " " * (width - _measure(shown))
        padded.append(blank + shown if to_right else shown + blank)
    return (" " * _GAP).join(padded).rstrip()


def _shorten(text: str, width: int) -> str:
    """Takes out the middle of a text that is wider than a column."""
    if _measure(text) <= width:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while _measure(head) + _measure(tail) >= width:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}\N{HORIZONTAL ELLIPSIS}{tail}"


def _measure(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
