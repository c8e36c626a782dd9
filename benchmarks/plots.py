"""The pictures of docs/benchmarks.md; each says one thing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import data
import matplotlib as mpl
from contenders import CONTENDERS, OURS
from figures import RATE, Series, series

from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.search import planner

mpl.use("Agg")

from matplotlib import pyplot as plt

VIEWS = "benchmarks-views.png"
BUILD = "benchmarks-build.png"
HNSW = "benchmarks-hnsw.png"
INSERTS = "benchmarks-inserts.png"
ALL_POINTS = "benchmarks-all-points.png"

_SHARES = (*data.SHARES, 1.0)
_INK = "#444444"
_OURS = "#d62728"
_COLORS = ("#1f77b4", "#7f7f7f", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.dpi": 140,
    "figure.constrained_layout.use": True,
}


def draw(results: dict[str, Any], out: Path) -> None:
    """Draws all pictures into a folder."""
    with plt.rc_context(_STYLE):
        for name, picture in ((VIEWS, _views), (BUILD, _build), (HNSW, _hnsw)):
            figure = picture(results)
            figure.savefig(out / name)
            plt.close(figure)


def draw_large(known: dict[str, Any], out: Path) -> None:
    """Draws the pictures of large indexes into a folder, from the figures of million.py."""
    with plt.rc_context(_STYLE):
        for name, picture in ((INSERTS, _inserts), (ALL_POINTS, _all_points)):
            figure = picture(known)
            figure.savefig(out / name)
            plt.close(figure)


def _inserts(known: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 4))
    colors = iter((_OURS, *_COLORS))
    for name in sorted(known, key=lambda name: (int(name.split("-")[2]), name)):
        algorithm, dtype, count = name.split("-")
        found = known[name]
        built = found.get("build") or found.get("building")
        if algorithm != "HNSW" or built is None:
            continue
        steps = [(0, 0.0), *built["steps"]]
        rates = [
            (n - m) / (late - early) for (m, early), (n, late) in pairwise(steps) if late > early
        ]
        at = [n for (m, _), (n, _) in pairwise(steps)][: len(rates)]
        axes.plot(at, rates, color=next(colors), label=f"an index of {int(count):,}, {dtype}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("vectors in the index")
    axes.set_ylabel("vectors per second")
    axes.set_title("Inserting into an HNSW index, by its size (a million: beside other work)")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    return figure


def _all_points(known: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 4))
    found = sorted(
        (each["points"].get("size", int(name.split("-")[2])), each["points"])
        for name, each in known.items()
        if "points" in each and "-float32-" in name
    )
    at = [count for count, _ in found]
    whole = [count * each["seconds"] / each["count"] / 60 for count, each in found]
    busy = [count * each["server"] / each["count"] / 60 for count, each in found]
    axes.plot(
        at,
        whole,
        "o-",
        color=_OURS,
        linewidth=2.5,
        label="through the graph",
    )
    axes.plot(at, busy, "o--", color=_OURS, label="of it the server's processor time")
    pairs = [
        planner.plan_all_points(Schema("flat", 512), count, count, 10).seconds / 60 for count in at
    ]
    axes.plot(at, pairs, "o-", color=_COLORS[1], label="all pairs, as planned for a quiet machine")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.7g}")
    axes.set_xlabel("points")
    axes.set_ylabel("minutes")
    axes.set_title("The 10 neighbours of all points: in step with their number, or its square")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    return figure


def _views(results: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 4.5))
    for label, color, works in _contenders(results):
        found = [series(works, data.search_name(share)) for share in _SHARES]
        at = [x for x, one in enumerate(found) if not one.missing]
        there = [found[x] for x in at]
        if not there:
            continue
        middle = [one.median * 1e3 for one in there]
        width = 2.5 if color == _OURS else 1.5
        axes.plot(at, middle, marker="o", markersize=4, color=color, label=label, linewidth=width)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(
        range(len(_SHARES)), [*(f"{share * 100:g} %" for share in data.SHARES), "no view"]
    )
    axes.set_xlabel("share of the dataset that the view holds")
    axes.set_ylabel("milliseconds")
    axes.set_title("Searching a view: sort_by_similarity() and reading the ids of the result")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _build(results: dict[str, Any]) -> Any:
    count = results["sizes"]["count"]
    bars = [
        (label, color, series(works, "build").rate(count))
        for label, color, works in _contenders(results)
        # It only keeps the array that it is given.
        if label != "FiftyOne's sklearn"
    ]
    bare = series(results["engine"], "write", "bare").rate(count)
    bars.append(("prepared bytes down a socket", "#bbbbbb", bare))
    bars = sorted((b for b in bars if not b[2].missing), key=lambda bar: -bar[2].median)
    figure, axes = plt.subplots(figsize=(7.5, 0.5 + 0.45 * len(bars)))
    for row, (_, color, found) in enumerate(bars):
        axes.barh(row, found.median, color=color, height=0.65, xerr=_reach(found), ecolor=_INK)
        axes.text(max(found.values), row, f"  {RATE.text(found.median)}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Building an index: vectors per second")
    return figure


def _hnsw(results: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(7.5, 4.5))
    for kind, color, side in (("clustered", _OURS, 6), ("uniform", _COLORS[0], -11)):
        found = results["engine"].get(f"hnsw {kind}", {})
        curve = found.get("curve", ())
        if not curve:
            continue
        x = [series({"it": point}, "it").median * 1e3 for point in curve]
        y = [point["recall"] for point in curve]
        axes.plot(x, y, marker="o", markersize=4, color=color, label=f"{kind}, {found['dim']}-d")
        for at, point in zip(x, curve, strict=True):
            default = point["ef"] == found["default"]["ef"]
            text = f"{point['ef']}, the default" if default else str(point["ef"])
            axes.annotate(
                text, (at, point["recall"]), (4, side), textcoords="offset points", fontsize=8
            )
            if default:
                axes.plot(at, point["recall"], "o", markersize=11, color=color, fillstyle="none")
    axes.set_xlabel("milliseconds for one query")
    axes.set_ylabel("recall@10")
    axes.set_title("HNSW: what ef_runtime (the numbers) buys")
    axes.grid(color="#dddddd", linewidth=0.6)
    if axes.has_data():
        axes.legend(frameon=False, loc="lower right")
    return figure


def _contenders(results: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    colors = iter(_COLORS)
    return [
        (c.label, _OURS if c.name == OURS else next(colors), results["contenders"][c.name])
        for c in CONTENDERS
        if c.name in results["contenders"]
    ]


def _reach(found: Series) -> list[list[float]]:
    return [[found.median - min(found.values)], [max(found.values) - found.median]]
