"""One picture of queries and their neighbours, because people look rather than read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

_GREEN, _RED, _GRAY, _DARK = "#2e9e5b", "#d64545", "#8a93a0", "#1f2933"
_CELL, _TITLE = 1.0, 2.3  # in inches
_FRAME = 2.5  # in points


@dataclass(frozen=True)
class Crop:
    """An image, or a part of one.

    Attributes:
        path: the image's path
        box: left, top, width and height relative to the image's, or None for all of it
    """

    path: str
    box: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Neighbour:
    """A neighbour of a query.

    Attributes:
        crop: what it looks like
        label: its label, if it has one
        distance: its cosine distance from the query, from 0 to 2
    """

    crop: Crop
    label: str | None
    distance: float


@dataclass(frozen=True)
class Row:
    """A query and its neighbours.

    Attributes:
        title: what kind of query it is
        note: what else is said of it; may be empty
        query: the images that it is made of, or its text prompt
        label: the label that the neighbours should carry, if there is one
        neighbours: the neighbours, the nearest first
    """

    title: str
    note: str
    query: tuple[Crop, ...] | str
    label: str | None
    neighbours: tuple[Neighbour, ...]


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draws queries and their neighbours, framed in green where the label is the query's.

    Args:
        rows: the queries, from 1
        path: the PNG file to write; its folder is made if it is missing
        title: the title of the picture
    """
    columns = max(len(row.neighbours) for row in rows)
    width, height = _TITLE + (columns + 1.5) * _CELL, (len(rows) * 1.32 + 1.0) * _CELL
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(rows),
        columns + 3,
        width_ratios=[_TITLE, 1.0, 0.25, *[1.0] * columns],
        left=0.2 / width,
        right=1 - 0.2 / width,
        top=1 - 0.85 / height,
        bottom=0.35 / height,
        hspace=0.42,
        wspace=0.12,
    )
    for number, row in enumerate(rows):
        cells = [figure.add_subplot(grid[number, column]) for column in range(columns + 3)]
        _draw_row(row, cells)
    _caption(figure, title, width, height)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _caption(figure: Figure, title: str, width: float, height: float) -> None:
    figure.text(0.2 / width, 1 - 0.3 / height, title, size=15, weight="bold", color=_DARK)
    at = 0.2
    for color, text, step in (
        (_GREEN, "same label as the query", 2.0),
        (_RED, "another label", 1.3),
        (_GRAY, "nearest on the left; the number is the cosine distance", 0.0),
    ):
        mark = "\N{BLACK SQUARE} " if step else ""
        figure.text(at / width, 1 - 0.58 / height, mark + text, size=10, color=color)
        at += step


def _draw_row(row: Row, cells: Sequence[Axes]) -> None:
    for cell in cells:
        cell.set_axis_off()
    text, query, _, *others = cells
    notes = [note for note in (row.note, _agreement(row)) if note]
    text.text(0, 0.58, row.title, size=11, weight="bold", color=_DARK, va="center")
    text.text(0, 0.46, "\n".join(notes), size=9.5, color=_GRAY, va="top", linespacing=1.5)
    if isinstance(row.query, str):
        _draw_prompt(query, row.query)
    else:
        _draw_crops(query, row.query)
    for cell, neighbour in zip(others, row.neighbours, strict=False):
        _draw_neighbour(cell, neighbour, row.label)


def _agreement(row: Row) -> str:
    if row.label is None:
        return ""
    same = sum(neighbour.label == row.label for neighbour in row.neighbours)
    return f"{row.label}: {same} of {len(row.neighbours)} agree"


def _draw_prompt(cell: Axes, prompt: str) -> None:
    cell.set_xlim(0, 1)
    cell.set_ylim(0, 1)
    cell.set_aspect("equal")
    cell.add_patch(
        FancyBboxPatch(
            (0.04, 0.04), 0.92, 0.92, boxstyle="round,pad=0.04", facecolor="#eef2f7", linewidth=0
        )
    )
    lines = "\n".join(textwrap.wrap(f"\u201c{prompt}\u201d", 15))
    cell.text(0.5, 0.5, lines, ha="center", va="center", size=7.5, style="italic", color=_DARK)


def _draw_crops(cell: Axes, crops: Sequence[Crop]) -> None:
    """Draws one image, or up to four as a square of two by two."""
    if len(crops) == 1:
        _show(cell, crops[0])
        _frame(cell, _DARK)
        return
    for i, crop in enumerate(crops[:4]):
        part = cell.inset_axes((0.52 * (i % 2), 0.52 * (1 - i // 2), 0.48, 0.48))
        _show(part, crop)
        _frame(part, _DARK, 1.2)


def _draw_neighbour(cell: Axes, neighbour: Neighbour, label: str | None) -> None:
    color = _GRAY if label is None else _GREEN if neighbour.label == label else _RED
    _show(cell, neighbour.crop)
    _frame(cell, color)
    text = f"{neighbour.distance:.3f}"
    if color == _RED:
        text = f"{neighbour.label}  {text}"
    cell.set_title(text, y=-0.24, size=8, color=_RED if color == _RED else _GRAY, pad=0)


def _show(cell: Axes, crop: Crop) -> None:
    cell.imshow(_read(crop), aspect="equal")
    cell.set_axis_on()
    cell.set_xticks([])
    cell.set_yticks([])


def _frame(cell: Axes, color: str, width: float = _FRAME) -> None:
    for spine in cell.spines.values():
        spine.set(color=color, linewidth=width)


def _read(crop: Crop) -> Image.Image:
    with Image.open(crop.path) as file:
        image = file.convert("RGB")
    if crop.box is None:
        return image
    left, top, width, height = crop.box
    edges = (left, top, left + width, top + height)
    size = (image.width, image.height) * 2
    return image.crop(tuple(round(e * s) for e, s in zip(edges, size, strict=True)))  # type: ignore[arg-type]
