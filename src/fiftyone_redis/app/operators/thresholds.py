"""A threshold that is typed, or dragged on a slider below a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import charts
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.app.operators import forms


def ask(inputs: Any, ctx: Any, found: Distances, metric: str) -> float | None:
    """Adds the histogram, and an input and a slider for the threshold.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        found: the nearest-neighbour distances
        metric: the metric of the index

    Returns:
        the threshold; None if it was deleted
    """
    threshold, typed, slider = read(ctx.params, found.suggested)
    plot = charts.histogram(*found.histogram(), metric, threshold)
    inputs.plot("histogram", height=170, **plot)
    if threshold is not None:
        inputs.float(
            slider,
            default=threshold,
            min=min(0.0, float(found.values[0]), threshold),
            max=max(found.largest, threshold),
            view=types.SliderView(value_label_display="auto"),
        )
    step = {"field": {"inputProps": {"step": "any"}}}
    text = "The largest distance of near duplicates: type it, or move the slider"
    view = types.FieldView(componentsProps=step)
    question = inputs.float(
        typed, default=threshold, label="Threshold", description=text, view=view
    )
    if threshold is None:
        forms.mark_invalid(question, "Type a threshold.")
    return threshold


def read(params: Mapping[str, Any], suggested: float | None) -> tuple[float | None, str, str]:
    """Reads the threshold that was typed or dragged last.

    An input of the page keeps what was entered, whatever the form says. So there are new inputs
    whenever the slider was moved, and a new slider for each number that is typed; the names of
    these tell what came first.

    Args:
        params: the parameters of the form
        suggested: the threshold to begin with

    Returns:
        the threshold, None if it was deleted; and the names of the input and of the slider
    """
    value, typed = suggested, "threshold"
    for moves in count(1):
        if typed in params:
            value = None if params[typed] is None else float(params[typed])
        slider = forms.name_tick(f"slider_{moves}", repr(value))
        moved = params.get(slider)
        if value is None or moved is None or moved == value:
            break
        value, typed = float(f"{moved:.3g}"), f"threshold_{moves}"
    return value, typed, slider
