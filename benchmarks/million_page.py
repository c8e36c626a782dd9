"""Writes what million.py measured into docs/benchmarks.md.

Command: ``python benchmarks/million_page.py [FOLDER]``. With the folder of million.py, its figures
are first gathered into ``million.json``, which is kept in the repository, so that ``make bench``
writes the same section again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import plots
from figures import MILLISECONDS, RATE, digits, markdown

HEADING = "## Large indexes"
ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "benchmarks" / "million.json"

_BUILDS = ("Index", "Vectors", "Built in", "Server's core", "Server", "Client", "Load")
_BARE = ("Index", "Vectors", "Engine", "Bare socket", "Ratio", "Load")
_SEARCHES = (
    *("Index", "Vectors", "A search", "Bare FT.SEARCH", "Difference"),
    *("Its vectors read", "By processor time", "Load"),
)
_VIEWS = ("Share of the dataset", "Search in the view", "MongoDB alone", "Ratio", "Load")
_POINTS = (
    *("Index", "Vectors", "Searched for", "Time", "Each", "Server's core", "Client"),
    *("Recall", "On", "Load"),
)
_PINGS = ("Beside", "Takes", "Median", "99 of 100", "Longest")

_METHOD = """`make bench-million` measured this, apart from the rest: clustered vectors of 512
values, cosine, one private server for each index. The load is the average number of processes that
wanted one of the 2 cores. Where it is 1 to 3 the machine was quiet. A time under a load of 10 is
several times what it is alone; ratios, whose sides were measured in turn, are fairer."""

_BUILT = """Built by the engine in batches of 4,096. Server's core is the server's processor time,
client by how much the process grew at most, server its `used_memory`. The HNSW index of a million
was built beside other work, at a load of 1 to 13: 550 to 850/s at the times when the machine was
quiet, also near its end."""

_WRITTEN = """The engine and prepared requests down a bare socket, batch by batch in turn, on two
servers with an index of the same kind."""

_SEARCHED = """The 10 nearest of all vectors by the engine, by one bare `FT.SEARCH` of redis-py, and
numpy reading as many bytes as the vectors have, in turn: the time that passes, and the processor
time of the server and of numpy, which the load changes less. The difference is the median of pairs:
what this package adds to the server's own time."""

_VIEWED = """The 10 nearest in views of a FLAT index of a million float32 vectors, by FiftyOne;
MongoDB alone counts the samples of the view. The ratio is the search in the view to MongoDB's time
and that of a search of everything together."""

_ALL = """The 10 neighbours of each point through the graph, of all points or of the first ones,
with distances calculated anew from the vectors. The server's core is the processor time of the
server for each point; recall is against brute force on some of the points. The client's memory
with a million was measured on its first 100,000 points."""

_PINGED = """Another client sends a PING every 2 ms beside work on a FLAT index of a million float32
vectors: a tenth of them is removed and added again, all are indexed with another metric, and the
index is dropped with its documents. Milliseconds that it waits."""


def gather(folder: Path) -> dict[str, Any]:
    """Returns the figures of all variants in a folder of million.py."""
    found = {}
    for file in sorted(folder.glob("*/figures.json")):
        figures = json.loads(file.read_text())
        figures.pop("building", None) if "build" in figures else None
        for name in ("build", "building"):
            if name in figures:
                steps, load = figures[name]["steps"], figures[name]["load"]
                figures[name]["steps"] = steps[:: max(1, len(steps) // 60)] + steps[-1:]
                figures[name]["load"] = [min(load), max(load)]
        found[file.parent.name] = figures
    return found


def section(known: dict[str, Any]) -> str:
    """Returns the section of the page."""
    parts = [
        HEADING,
        _filled(_METHOD),
        "### Building",
        _filled(_BUILT),
        markdown(_BUILDS, list(_builds(known))),
        f"![Vectors per second into an HNSW index, by its size]({plots.INSERTS})",
        _filled(_WRITTEN),
        markdown(_BARE, list(_bare(known))),
        "### Searching",
        _filled(_SEARCHED),
        markdown(_SEARCHES, list(_searches(known))),
        _filled(_VIEWED),
        markdown(_VIEWS, list(_views(known))),
        "### The neighbours of all points",
        _filled(_ALL),
        markdown(_POINTS, list(_points(known))),
        f"![Minutes for all points, by their number]({plots.ALL_POINTS})",
        "### Other clients",
        _filled(_PINGED),
        markdown(_PINGS, list(_pings(known))),
    ]
    return "\n\n".join(parts)


def insert(page: str, text: str) -> str:
    """Returns a page with the section, which takes the place of an older one."""
    before, _, rest = page.partition(f"{HEADING}\n")
    if rest:
        _, _, after = rest.partition("\n## ")
    else:
        before, _, after = page.partition("\n## Raw figures")
        before, after = f"{before}\n", f"Raw figures{after}"
    return f"{before}{text}\n\n## {after}"


def _variants(known: dict[str, Any], phase: str) -> Iterator[tuple[str, int, Any]]:
    """Yields kind, size and figures of what a phase was measured for, small ones first."""
    for name in sorted(known, key=lambda name: (int(name.split("-")[2]), name)):
        algorithm, dtype, count = name.split("-")
        if phase in known[name]:
            yield f"{algorithm} {dtype}", int(count), known[name][phase]


def _builds(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    # A build that was stopped is under "building".
    for phase in ("build", "building"):
        for index, count, found in _variants(known, phase):
            done = found["steps"][-1][0]
            rate = RATE.text(done / found["seconds"])
            memory = (f"{found[side] / 1e6:,.0f} MB" for side in ("server", "client"))
            busy = _time(found["cpu"]) if "cpu" in found else "-"
            built = f"{_time(found['seconds'])} ({rate})"
            yield index, _size(done, count), built, busy, *memory, _load(found)


def _bare(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for index, count, found in _variants(known, "bare"):
        rates = (RATE.text(found["count"] / found[side]) for side in ("engine", "socket"))
        ratio = found["socket"] / found["engine"]
        size = f"{found['count']:,}" if found["count"] == count else f"first {found['count']:,}"
        yield index, size, *rates, digits(ratio), _load(found)


def _searches(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for index, count, found in _variants(known, "search"):
        times = [MILLISECONDS.text(found[side]) for side in ("seconds", "memory")]
        busy = "-"
        if "server" in found:
            busy, read = (MILLISECONDS.text(found[side]) for side in ("server", "memory_cpu"))
            busy = f"{busy}, {read}"
        bare = ("-", "-")
        if "more" in found:
            bare = (MILLISECONDS.text(found["command"]), f"{found['more'] * 1e3:+.2f} ms")
        size = _size(found.get("size", count), count)
        yield index, size, times[0], *bare, times[1], busy, _load(found)


def _views(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    name = "FLAT-float32-1000000"
    found = dict(known.get(name, {}).get("views", {}))
    load = {"load": found.pop("load", 0.0)}
    for share, each in found.items():
        alone = each["mongo"] + known[name]["search"]["seconds"]
        times = (MILLISECONDS.text(each[side]) for side in ("seconds", "mongo"))
        yield f"{float(share):.2%}", *times, digits(each["seconds"] / alone), _load(load)


def _points(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    recalls = {(index, count): found for index, count, found in _variants(known, "recall")}
    for index, count, found in _variants(known, "points"):
        done, size = found["count"], found.get("size", count)
        yield (
            index,
            _size(size, count),
            "all" if done == count else f"the first {done:,}",
            _time(found["seconds"]),
            MILLISECONDS.text(found["seconds"] / done),
            MILLISECONDS.text(found["server"] / done),
            f"{found['client'] / 1e6:,.0f} MB more",
            *_recall(recalls.get((index, count))),
            _load(found),
        )


def _recall(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "-", "-"
    return f"{found['recall']:.4f}", f"{found['points']:,}"


def _pings(known: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for work, found in known.get("FLAT-float32-1000000", {}).get("pings", {}).items():
        waits = (f"{found[kind]:.1f} ms" for kind in ("median", "p99", "worst"))
        yield work, _time(found["seconds"]), *waits


def _size(done: int, count: int) -> str:
    return f"{done:,}" if done == count else f"{done:,} of {count:,}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{digits(seconds)} s"
    return f"{digits(seconds / 60)} min"


def _load(found: dict[str, Any]) -> str:
    load = found["load"]
    if not isinstance(load, list):
        load = [load, load]
    low, high = f"{min(load):.0f}", f"{max(load):.0f}"
    return low if low == high else f"{low} to {high}"


def _filled(text: str) -> str:
    return fill(" ".join(text.split()), 100, break_long_words=False)


def main() -> None:
    """Takes in the figures of a folder if one is given, and writes the section."""
    if len(sys.argv) > 1:
        all_known = json.loads(FIGURES.read_text())
        for name, phases in gather(Path(sys.argv[1])).items():
            all_known[name] = all_known.get(name, {}) | phases
            if "build" in phases:
                all_known[name].pop("building", None)  # it was stopped before
        FIGURES.write_text(json.dumps(all_known, indent=1) + "\n")
    known, docs = json.loads(FIGURES.read_text()), ROOT / "docs"
    plots.draw_large(known, docs)
    page = docs / "benchmarks.md"
    page.write_text(insert(page.read_text(), section(known)))


if __name__ == "__main__":
    main()
