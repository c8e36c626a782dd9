"""The part of the panel that shows how far vectors are from their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiftyone_redis.app import charts
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.app.markdown import escape
from fiftyone_redis.app.painting import job_list


def describe(found: Distances, metric: str) -> dict[str, Any]:
    """Returns distances as plain data for the panel's state.

    Args:
        found: the distances
        metric: the metric of the index
    """
    edges, counts = found.histogram() if len(found.values) else ([], [])
    measured = len(found.values)
    return {
        "edges": edges,
        "counts": counts,
        "metric": metric,
        "of": f"all {found.documents:,}" if found.exact else f"{measured:,} of {found.documents:,}",
        "rest": len(found.rest),
    }


def paint(
    panel: Any, state: Any, more: Callable[[Any], None], on_click: Callable[[Any], None]
) -> None:
    """Adds the histogram to the panel, or what there is instead of it.

    Args:
        panel: the panel's ``types.Object``
        state: the panel's state
        more: the panel's method that has the rest measured
        on_click: the panel's method for a click on the histogram
    """
    plot = state.plot
    if not plot:
        panel.md("*Measuring distances …*", name="measuring")
        return
    if plot.get("problem"):
        panel.md(f"*{escape(plot['problem'])}*", name="unmeasured")
        return
    if not plot["edges"]:
        return
    panel.md(
        f"**Distances to the nearest neighbour** in `{state.chosen}`, of {plot['of']}. "
        "Click where near duplicates end.",
        name="measured",
    )
    if plot["rest"] and not job_list.is_running(state.jobs, "measure_distances", state.chosen):
        label = f"Measure {plot['rest']:,} more"
        button = {"item": {"sx": {"width": "auto"}}}
        panel.btn("more", label, on_click=more, variant="outlined", componentsProps=button)
    chart = charts.histogram(plot["edges"], plot["counts"], plot["metric"])
    panel.plot("histogram", height=260, on_click=on_click, **chart)
