"""The histogram of nearest-neighbour distances, as Plotly draws it in the App."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

_BAR = "#ff6d04"  # FiftyOne's orange, for distances within the threshold
_REST = "#5a6b7b"


def histogram(
    edges: list[float], counts: list[int], metric: str, threshold: float | None = None
) -> dict[str, Any]:
    """Returns the ``data``, ``layout`` and ``config`` of a ``PlotlyView``.

    Args:
        edges: the edges of the bins, one more than bins
        counts: the number of distances in each bin
        metric: the name of the metric
        threshold: the largest distance to highlight; None for no highlight
    """
    middles = [(left + right) / 2 for left, right in pairwise(edges)]
    limit = float("-inf") if threshold is None else threshold
    bars = {
        "type": "bar",
        "x": middles,
        "y": counts,
        "width": [right - left for left, right in pairwise(edges)],
        "marker": {"color": [_BAR if middle <= limit else _REST for middle in middles]},
        "hovertemplate": "distance %{x:.3g}<br>%{y} of them<extra></extra>",
    }
    layout: dict[str, Any] = {
        "font": {"size": 11},
        "bargap": 0.06,
        "margin": {"t": 10, "l": 48, "r": 12, "b": 42},
        "xaxis": {"title": {"text": f"{metric} distance to the nearest neighbour"}},
        "yaxis": {"title": {"text": "points"}},
        "showlegend": False,
    }
    if threshold is not None:
        line = {"color": _BAR, "width": 2, "dash": "dot"}
        layout["shapes"] = [
            {"type": "line", "x0": limit, "x1": limit, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": line}
        ]
    config = {"displayModeBar": False, "scrollZoom": False, "responsive": True}
    return {"data": [bars], "layout": layout, "config": config}
