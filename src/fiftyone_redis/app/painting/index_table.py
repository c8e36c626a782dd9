"""The part of the panel that lists the indexes of a dataset, with the actions on each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app.indexes import IndexSummary
from fiftyone_redis.doctor.findings import format_bytes

Event = Callable[[Any], None]

COUNTING = "…"  # a longer word leaves a panel of 1280 pixels no room for the memory

_COLUMNS = {
    "name": "Index",
    "of": "Target",
    "vectors": "Vectors",
    "missing": "Missing",
    "gone": "Stale",
    "memory": "Memory",
}

# What opens below the table with a click on a row.
_DETAILS = {
    "of": "Target",
    "memory": "Memory",
    "metric": "Metric",
    "algorithm": "Algorithm",
    "type": "Type",
    "source": "Vectors from",
    "prompts": "Text prompts",
    "stored": "Stored fields",
    "index_name": "Index name",
    "generation": "Generation",
}

# Material UI styles.
_CELL = {"sx": {"whiteSpace": "nowrap", "px": 1, "py": 0.75, "fontSize": "0.8rem"}}
_SURFACE = "var(--fo-palette-background-level2, #262626)"
_ACTIONS_STAY = {"position": "sticky", "right": 0, "background": _SURFACE, "px": 1}
_NAMES_WRAP = {"whiteSpace": "normal", "overflowWrap": "anywhere"}
_HIDDEN = {"display": "none"}
_TIGHT = {"px": 0.5}
_TABLE = {
    "tableContainer": {"sx": {"containerType": "inline-size"}},
    "table": {
        "sx": {
            "minWidth": 0,
            "& td:nth-of-type(-n+2)": _NAMES_WRAP,
            "& td:nth-of-type(2)": _NAMES_WRAP | {"minWidth": 92},
            "& td:last-of-type, & th:last-of-type": _ACTIONS_STAY,
            # What a narrow panel has no room for is among the details.
            "@container (max-width: 440px)": {
                "& td, & th": _TIGHT,
                "& td:nth-of-type(6), & th:nth-of-type(6)": _HIDDEN,
            },
            "@container (max-width: 360px)": {
                "& td:nth-of-type(2), & th:nth-of-type(2)": _HIDDEN,
            },
        }
    },
    "tableHeadCell": _CELL,
    "tableBodyCell": _CELL,
}

_ACTIONS = {
    "add_missing": ("Index missing samples", "playlist_add"),
    "show_missing": ("Show missing samples", "visibility"),
    "remove_gone": ("Remove stale vectors", "playlist_remove"),
    "find_near_duplicates": ("Find near duplicates", "content_copy"),
    "delete_near_duplicates": ("Delete near duplicates", "delete_sweep"),
    "compute_visualization": ("Compute visualization", "scatter_plot"),
    "rebuild_index": ("Rebuild", "construction"),
    "rename_index": ("Rename", "edit"),
    "drop_index": ("Drop", "delete"),
}


def paint(
    panel: Any,
    count: int,
    *,
    on_action: Callable[[Any], None],
    on_click_row: Callable[[Any], None],
) -> None:
    """Paints the table; its rows are data of the panel, by the name from :func:`name_table`.

    Args:
        panel: the panel's ``types.Object``
        count: the number of rows
        on_action: called with the ``event`` that was chosen in the menu of a ``row``
        on_click_row: called with the ``row`` that was clicked
    """
    view = types.TableView(componentsProps=_TABLE, on_click_row=on_click_row)
    for key, label in _COLUMNS.items():
        view.add_column(key, label=label)
    for name, (label, icon) in _ACTIONS.items():
        view.add_row_action(name, on_click=on_action, label=label, icon=icon, tooltip=label)
    panel.list(name_table(count), types.Object(), view=view)


def name_table(count: int) -> str:
    """Returns the name of a table with so many rows.

    A choice in the panel has the page keep all that it shows, and merge the rows of the same name
    into that: of a longer table, the last rows would stay.
    """
    return f"table_{count}"


def paint_details(panel: Any, rows: list[dict[str, str]], opened: str | None) -> None:
    """Paints the details of the index whose row is open.

    Args:
        panel: the panel's ``types.Object``
        rows: the rows of the table
        opened: the brain key of that index; None if no row is open
    """
    row = next((row for row in rows if row["name"] == opened), None)
    if row is None:
        panel.md("*Click a row for its metric, algorithm, fields and names.*", name="hint")
        return
    lines = [f"**{row['name']}**", *(f"{label}: `{row[key]}`" for key, label in _DETAILS.items())]
    panel.md("  \n".join(lines), name="details")


def describe(one: IndexSummary) -> dict[str, str]:
    """Returns an index as a row of the table, and the details that open with it."""
    return {
        "name": one.brain_key,
        "of": "samples" if one.patches_field is None else f"patches of {one.patches_field}",
        "vectors": "not there" if one.documents is None else f"{one.documents:,}",
        "missing": COUNTING,
        "gone": COUNTING,
        "memory": "-" if one.memory is None else format_bytes(one.memory),
        "algorithm": one.algorithm,
        "type": one.dtype if one.dim is None else f"{one.dtype} x {one.dim}",
        "metric": one.metric,
        "source": one.model or one.field or "a program",
        "prompts": "yes" if one.takes_prompts else "no",
        "stored": ", ".join(one.stored_fields) or "none",
        "index_name": one.index_name,
        "generation": one.server_name,
    }
