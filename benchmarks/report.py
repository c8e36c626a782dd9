"""Writes docs/benchmarks.md and its pictures from the results of a run.

Command, to write the page again from figures that are there: ``python benchmarks/report.py
.bench/results.json docs``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import data
import million_page
import plots
from contenders import CONTENDERS, OURS, Contender
from figures import MILLISECONDS, RATE, SECONDS, Unit, digits, markdown, series
from jobs import ENVIRONMENT
from targets import goals

PAGE = "benchmarks.md"

_SEARCHES = tuple(data.search_name(share) for share in (*data.SHARES, 1.0))
_HEADER = ("Work", "fiftyone-redis", "Against", "Its figure", "Ratio", "Goal", "Reached")

_METHOD = (
    """One backend after the other, each in a process of its own, all with the same FiftyOne, the
    same MongoDB and the same dataset. Where packages clash, an environment is made for the
    backend.""",
    """Each backend on Redis, and the bare commands, have a new private server as `fiftyone-redis
    server start` gives it, which appends every write to a file and syncs it every second. Before a
    build the server is emptied and its file written anew. All talk to it over TCP on the same
    machine.""",
    """Building is `add_to_index()` with an array in memory, into a new index, up to its return;
    reading is `get_embeddings()` of everything. Neither is warmed up.""",
    """Server memory is Redis's `used_memory` after a build less that before it.""",
    """Searching is `view.sort_by_similarity(id, k=10, brain_key=...)` and `.values("id")` of the
    result, each time with another id and a new view object. A view is `dataset.match(F("share") <
    x)`, where `share` is a random number without an index in MongoDB. The first search of each kind
    is kept apart, in the raw figures. Timings drift, so this package searches before FiftyOne's own
    Redis and again after it, and both rounds count. Half a second of rest goes before each kind of
    search.""",
    """The engine, the bare socket and redis-py's pipeline write in turn into the same kind of
    index; so do the searches by id and redis-py's `HGET` and `FT.SEARCH`, of which the difference
    is taken pair by pair. For the socket, all requests are ready before the clock starts, and a
    second thread reads the replies. The pipeline sends 1,000 `HSET` at a time, without MULTI.""",
    """Client memory is the peak of the process less what it held before, with the array already
    there.""",
    """Recall is the share of the true 10 neighbours, by brute force, that an answer holds.""",
)

_OTHERS = """The median of each work, times in milliseconds but for reading. The percentages are
searches in views of that share of the dataset; by id is `index._kneighbors(query=id, k=10)`."""

_PACKING = """The same documents, written by this package's engine, which packs requests itself and
sends each before the replies to the last one are read, and by redis-py's `pipeline()`."""

_WRITERS = {
    "the engine": "seconds",
    "redis-py's pipeline": "pipeline",
    "prepared bytes down a socket": "bare",
}

_HNSW = """With `m` and `ef_construction` at this package's defaults. The queries are vectors of the
same distribution that are not in the index, asked of the server by bare `FT.SEARCH`; a time is the
median of 200 queries. One index of each kind was built."""


_PRECAUTIONS = (
    """Two precautions go with every search ([Redis Cluster](cluster.md)): a look whether the
    cluster is whole, and FT.INFO, which tells whether the index is the same. The first costs
    0.38 ms a search with 3 primaries (goal: at most 1 ms), the second 0.05 ms on one server
    (goal: at most 0.1 ms).""",
    """`benchmarks/cluster_check.py` measured that apart from the rest, on Redis Stack 7.4, as the
    difference between blocks of searches with and without, 4,000 each; half of the blocks were
    within 0.374 to 0.382 ms and 0.051 to 0.054 ms. The machine, of 2 cores, was not quiet: its load
    was 1.7. `CLUSTER SHARDS` stood in for `SEARCH.CLUSTERINFO`, which 7.4 lacks.""",
    """A search of the whole dataset also asks MongoDB whether its neighbours are in the dataset
    (goal: at most 1 ms). `benchmarks/existing.py` measured 0.76 ms for 10 neighbours, 0.93 ms for
    25 and 1.7 ms for 100 in an index of 10,000 vectors of 512 values, and 1.0, 1.1 and 1.9 ms in
    one of 50,000, while the load of the 2 cores was 3.8.""",
)


def write(results: dict[str, Any], out: Path) -> None:
    """Writes the page and its pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    plots.draw(results, out)
    parts = [_opening(results), table(results), _method(results), _others(results)]
    parts += [_hnsw(results), _packing(results), _rates(results), _precautions()]
    if million_page.FIGURES.exists():
        parts.append(million_page.section(json.loads(million_page.FIGURES.read_text())))
    parts.append(_raw(results))
    (out / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """Returns the goals and how far they were reached, as a table in Markdown."""
    rows = [
        (g.work, g.ours, g.against, g.theirs, g.ratio, g.reach, g.verdict) for g in goals(results)
    ]
    return markdown(_HEADER, rows)


def _opening(results: dict[str, Any]) -> str:
    found = goals(results)
    reached = sum(goal.reached is True for goal in found)
    count, dim = results["sizes"]["count"], results["sizes"]["dim"]
    paragraphs = (
        f"""How fast this package is, next to what the server itself can do and to the other
        similarity backends of FiftyOne that need no cloud. `make bench` measured it all in one run
        of {results["minutes"]:.0f} minutes on {results["date"]} and wrote this page; {reached} of
        the {len(found)} goals below are reached. Times differ from machine to machine, ratios much
        less.""",
        f"""Unless said otherwise: {count:,} vectors of {dim} float32 values in clusters, cosine, an
        exact (FLAT) index, 10 neighbours. A figure is the median of several runs, with the smallest
        and the largest in brackets. Higher ratios are better for speed, lower ones for memory.""",
    )
    return "\n\n".join(["# Benchmarks", *(_filled(text) for text in paragraphs)])


def _filled(text: str, indent: str = "") -> str:
    """Returns a paragraph in lines of equal length."""
    return fill(" ".join(text.split()), 100, subsequent_indent=indent, break_long_words=False)


def _method(results: dict[str, Any]) -> str:
    machine = results["machine"]
    ours = results["contenders"].get(OURS, {}).get(ENVIRONMENT, {})
    points = (
        f"""Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["memory"]} memory,
        {machine["system"]}, Python {machine["python"]}; numpy calculates with {ours.get("blas")},
        {ours.get("threads")} threads.""",
        f"Versions: {_joined(results['versions'])}. {_versions_elsewhere(results)}",
        *_METHOD,
        f"""All points is `index._kneighbors(k=10, return_dists=True)` on
        {results["sizes"]["points"]:,} points; this package reads the vectors from Redis first,
        every time, while sklearn's are in memory.""",
    )
    bullets = "\n".join(_filled(f"- {point}", "  ") for point in points)
    return f"## How it was measured\n\n{bullets}"


def _joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _versions_elsewhere(results: dict[str, Any]) -> str:
    """Returns what the environments of the other backends differ in."""
    parts = []
    for contender in CONTENDERS:
        found = results["contenders"].get(contender.name, {}).get(ENVIRONMENT, {})
        own = {
            name: version
            for name, version in found.get("versions", {}).items()
            if results["versions"].get(name) != version
        }
        if own:
            parts.append(f"{contender.label} with {_joined(own)}")
    return f"Elsewhere: {'; '.join(parts)}." if parts else ""


def _others(results: dict[str, Any]) -> str:
    names = ("Build", "Read", "By id", *(name.removeprefix("search ") for name in _SEARCHES))
    measured = [c for c in CONTENDERS if "build" in results["contenders"].get(c.name, {})]
    times = [
        (c.label, *(_cell(results, c, work) for work in ("build", "read", "by id", *_SEARCHES)))
        for c in measured
    ]
    recalls = [(c.label, *(_recall(results, c, work) for work in _SEARCHES)) for c in measured]
    remarks = [f"- {c.label}: {c.remark}." for c in measured]
    behind = list(_behind(results)) or ["Nowhere in this table."]
    return "\n\n".join(
        [
            "## FiftyOne's local backends",
            _OTHERS,
            markdown(("Backend", *names), times),
            f"![Time of a search in a view, by the view's share of the dataset]({plots.VIEWS})",
            f"![Vectors per second while building an index]({plots.BUILD})",
            "The recall of those searches, against brute force:",
            markdown(("Backend", *names[3:]), recalls),
            "Where another backend is ahead of this package:",
            "\n".join(behind),
            "What to know of them:",
            "\n".join([*remarks, *_failures(results)]),
        ]
    )


def _cell(results: dict[str, Any], contender: Contender, work: str) -> str:
    found = series(results["contenders"][contender.name], work)
    if found.missing:
        return "failed"
    if work == "build":
        return RATE.text(found.rate(results["sizes"]["count"]).median)
    return _unit(work).text(found.median)


def _unit(work: str) -> Unit:
    return SECONDS if work in {"build", "read"} else MILLISECONDS


def _recall(results: dict[str, Any], contender: Contender, work: str) -> str:
    found = results["contenders"][contender.name].get(work, {})
    return digits(found["recall"]) if "recall" in found else "failed"


def _failures(results: dict[str, Any]) -> Iterator[str]:
    """Yields what could not be measured, and why."""
    for contender in CONTENDERS:
        works = results["contenders"].get(contender.name, {})
        for work, found in works.items():
            if "error" in found:
                what = "not run" if work == ENVIRONMENT else f"failed at {work}"
                yield f"- {contender.label}: {what}, {found['error']}."


def _behind(results: dict[str, Any]) -> Iterator[str]:
    """Yields where another backend is ahead."""
    for work in ("build", "read", "by id", *_SEARCHES):
        ours = series(results["contenders"].get(OURS, {}), work)
        for contender in CONTENDERS[1:]:
            theirs = series(results["contenders"].get(contender.name, {}), work)
            if ours.missing or theirs.missing or ours.median <= theirs.median:
                continue
            unit = _unit(work)
            both = f"{unit.text(theirs.median)} against {unit.text(ours.median)}"
            yield f"- {work}: {contender.label}, {both}."


def _hnsw(results: dict[str, Any]) -> str:
    rows = []
    for kind in ("clustered", "uniform"):
        found = results["engine"].get(f"hnsw {kind}", {})
        for point in found.get("curve", ()):
            mark = " (default)" if point["ef"] == found["default"]["ef"] else ""
            latency = series({"it": point}, "it")
            rows.append(
                (
                    f"{kind}, {found['dim']}-d",
                    f"{point['ef']}{mark}",
                    f"{point['recall']:.3f}",
                    MILLISECONDS.spread(latency),
                )
            )
        if "error" in found:
            rows.append((kind, "-", "-", found["error"]))
    return "\n\n".join(
        [
            "## HNSW: recall against latency",
            _HNSW,
            markdown(("Data", "`ef_runtime`", "recall@10", "Time"), rows),
            f"![Recall against the time of a query, by ef_runtime]({plots.HNSW})",
        ]
    )


def _packing(results: dict[str, Any]) -> str:
    count, works = results["sizes"]["count"], results["engine"]
    ours = series(works, "write")
    rows = []
    for label, key in _WRITERS.items():
        found = series(works, "write", key)
        ratio = "-" if ours.missing or found.missing else digits(found.median / ours.median)
        rows.append((label, RATE.spread(found.rate(count)), ratio))
    return "\n\n".join(
        [
            "## What packing by hand is worth",
            _PACKING,
            markdown(("Written by", "Vectors", "Time, the engine's being 1"), rows),
        ]
    )


def _rates(results: dict[str, Any]) -> str:
    rows = []
    for count in results["sizes"]["steps"]:
        works, work = results["engine"], f"rates {count}"
        written, read = series(works, work, "write"), series(works, work, "read")
        rows.append(
            (
                f"{count:,}",
                RATE.spread(written.rate(count)),
                RATE.spread(read.rate(count)),
            )
        )
    return "\n\n".join(
        [
            "## The cost stays linear",
            "Vectors per second by the engine, at several numbers of vectors.",
            markdown(("Vectors", "Written", "Read"), rows),
        ]
    )


def _precautions() -> str:
    return "\n\n".join(["## The cost of two precautions", *map(_filled, _PRECAUTIONS)])


def _raw(results: dict[str, Any]) -> str:
    """Writes every measurement, so that nothing depends on how it was summed up."""
    rows = [
        (owner, work, "; ".join(_measurements(found)))
        for owner, works in (*results["contenders"].items(), ("engine", results["engine"]))
        for work, found in works.items()
    ]
    return "\n\n".join(
        [
            "## Raw figures",
            "Every measurement in the order in which it was made, in seconds and bytes.",
            markdown(("Contender", "Work", "Measurements"), rows),
        ]
    )


def _measurements(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if name == "curve":
            for point in value:
                yield f"ef_runtime {point['ef']}: {_number(point['seconds'])}"
        elif isinstance(value, dict):
            yield f"{name}: " + ", ".join(f"{key} {_number(part)}" for key, part in value.items())
        else:
            yield f"{name}: {_number(value)}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_number(part) for part in value)
    return str(value)


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
