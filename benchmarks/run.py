"""Measures this package against the server's own speed and FiftyOne's other local backends.

Purpose: the tables of docs/benchmarks.md and the README, as ratios from one run on one machine; it
is no test.
Command: ``make bench``, or ``python benchmarks/run.py [--count 5000 --dim 64 ...] [--out FOLDER]``.

Knobs: every field of data.Sizes is an option of the same name; ``--minutes`` is the time after
which what is not done is given up, and said to be; ``--only`` names the contenders to run.

Warm-up: searches are preceded by one that is reported apart, as the first call; the engine's
writing by one round. Building and reading have none, as users have none.

Configuration: one process per contender, one after the other, each with a HOME of its own, in an
environment of its own (environments.py) where its packages clash with this one's. Timings drift, so
this package searches before FiftyOne's own Redis and again after it, and both rounds count. All use
the same FiftyOne, the same MongoDB and the same dataset. Each one on Redis has a new private server
(``fiftyone_redis.server.start``, which appends every write to a file and syncs that every second)
and talks to it over TCP on 127.0.0.1. Variables that choose the kernel of OpenBLAS are not passed
on, so that numpy chooses for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import data
import drive
import environments
import machine
import readme
import report
import services
from contenders import CONTENDERS, OURS, OWN, Contender
from jobs import ENVIRONMENT, Figures, Job

ROOT = Path(__file__).resolve().parent.parent

_SEARCHES = tuple(data.search_name(share) for share in (1.0, *data.SHARES))


@dataclass(frozen=True)
class Plan:
    """What is to be done, and where.

    Args:
        sizes: how much
        folder: where data, environments and logs go
        out: where the page and its pictures go
        deadline: when, by ``time.monotonic()``, what is not done is given up
        only: the names of the contenders to run; none for all
    """

    sizes: data.Sizes
    folder: Path
    out: Path
    deadline: float
    only: tuple[str, ...]

    @property
    def runs(self) -> Path:
        """Where the data of this run go."""
        return self.folder / "run"

    @property
    def is_whole(self) -> bool:
        """Whether this is the run that the docs tell of."""
        return self.out == ROOT / "docs" and not self.only and self.sizes == data.Sizes()

    def wants(self, name: str) -> bool:
        """Returns whether a contender is to be run."""
        return not self.only or name in self.only


def measure(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Does all the work and returns all figures."""
    begun = time.monotonic()
    results: dict[str, Any] = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine.described(),
        "sizes": vars(plan.sizes),
        "contenders": {},
        "engine": {},
    }
    shutil.rmtree(plan.runs, ignore_errors=True)
    with services.mongodb(plan.runs / "mongo") as uri:
        say("making the dataset")
        made = _fiftyone(plan, uri, CONTENDERS[0], ("datasets",), "datasets")
        if "error" in made["datasets"]:
            raise RuntimeError(f"The dataset cannot be made: {made['datasets']['error']}")
        if plan.wants(OURS):
            say("the engine and the bare server")
            results["engine"] = _engine(plan)
        found = results["contenders"]
        for contender in CONTENDERS:
            if not plan.wants(contender.name):
                continue
            say(contender.label)
            found[contender.name] = _contender(plan, uri, contender)
            if contender.name == OWN and OURS in found:
                say(f"{CONTENDERS[0].label} again")
                _search_again(plan, uri, found[OURS])
    shutil.rmtree(plan.runs, ignore_errors=True)
    results["versions"] = machine.versions()
    results["minutes"] = (time.monotonic() - begun) / 60
    return results


def _contender(plan: Plan, uri: str, contender: Contender) -> dict[str, Figures]:
    if contender.absent:
        return {ENVIRONMENT: {"error": contender.absent}}
    if time.monotonic() > plan.deadline:
        return {ENVIRONMENT: {"error": drive.NO_TIME}}
    works = [ENVIRONMENT, "build", "read", "by id", *_SEARCHES]
    if contender.all_points:
        works.append("all points")
    figures = _fiftyone(plan, uri, contender, tuple(works), contender.name)
    _check_class(contender, figures[ENVIRONMENT])
    if contender.name == OURS:
        for count in sorted({plan.sizes.count, plan.sizes.steps[-1]}):
            # In a process of its own, since a peak of memory never goes down again.
            work = f"memory {count}"
            figures |= _fiftyone(plan, uri, contender, (work,), f"{contender.name}-{count}")
    return figures


def _search_again(plan: Plan, uri: str, figures: dict[str, Figures]) -> None:
    """Adds a second round of this package's searches to those of the first."""
    works = (ENVIRONMENT, *_SEARCHES)
    more = _fiftyone(plan, uri, CONTENDERS[0], works, f"{OURS}-again")
    for work in _SEARCHES:
        if "seconds" in figures[work] and "seconds" in more[work]:
            figures[work]["seconds"] += more[work]["seconds"]
            figures[work]["recall"] = min(figures[work]["recall"], more[work]["recall"])


def _check_class(contender: Contender, found: Figures) -> None:
    """Makes sure that what was measured is what it is taken for: both are "redis" to FiftyOne."""
    package = "fiftyone_redis." if contender.name == OURS else "fiftyone.brain."
    if "class" in found and not found["class"].startswith(package):
        raise RuntimeError(f"{contender.label} was {found['class']}.")


def _fiftyone(
    plan: Plan, uri: str, contender: Contender, works: tuple[str, ...], folder: str
) -> dict[str, Figures]:
    """Runs worker.py for a contender, with the server that it needs."""
    place = plan.runs / folder
    try:
        python = environments.python_of(contender, plan.folder)
    except environments.InstallError as error:
        return {ENVIRONMENT: {"error": str(error)}}
    with _redis(contender.on_redis, place) as port:
        job = Job(contender.name, works, plan.sizes, str(place), port)
        variables = _variables(place, uri)
        if contender.packages:
            # What is on it was put there for this package's own environment.
            variables.pop("PYTHONPATH", None)
        return drive.run(drive.Worker("worker.py", python, variables, plan.deadline), job)


def _engine(plan: Plan) -> dict[str, Figures]:
    """Runs engine_worker.py."""
    works = ["memory float32", "memory float16", "write", "by id"]
    works += [f"rates {count}" for count in plan.sizes.steps]
    works += ["hnsw clustered", "hnsw uniform"]
    place = plan.runs / "engine"
    with _redis(True, place) as port:
        job = Job(OURS, tuple(works), plan.sizes, str(place), port)
        worker = drive.Worker(
            "engine_worker.py", Path(sys.executable), _variables(place, ""), plan.deadline
        )
        return drive.run(worker, job)


@contextmanager
def _redis(wanted: bool, place: Path) -> Iterator[int]:
    if not wanted:
        yield 0
        return
    with services.redis(place / "redis") as port:
        yield port


def _variables(place: Path, uri: str) -> dict[str, str]:
    """Returns a worker's environment: nothing of this user's FiftyOne, and none of its names."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FIFTYONE_", "OPENBLAS_"))
    }
    return {
        **kept,
        "HOME": str(place),
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_DIR": str(place / "mongo"),
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "PYTHONWARNINGS": "ignore",
    }


def _plan() -> Plan:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    defaults = data.Sizes()
    for knob in fields(data.Sizes):
        default = getattr(defaults, knob.name)
        many = isinstance(default, tuple)
        kind = int if many else type(default)
        parser.add_argument(
            f"--{knob.name}", type=kind, nargs="+" if many else None, default=default
        )
    parser.add_argument("--minutes", type=float, default=14.5)
    parser.add_argument("--only", nargs="+", default=(), choices=[c.name for c in CONTENDERS])
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench")
    given = vars(parser.parse_args())
    sizes = {knob.name: given[knob.name] for knob in fields(data.Sizes)}
    sizes["steps"] = tuple(sizes["steps"])
    return Plan(
        sizes=data.Sizes(**sizes),
        folder=given["folder"].absolute(),
        out=given["out"].absolute(),
        deadline=time.monotonic() + 60 * given["minutes"],
        only=tuple(given["only"]),
    )


def main() -> None:
    """Measures, prints the table, and writes the page."""
    plan = _plan()
    # As an exception it passes through what stops the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended from outside."))
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:5.0f} s  {what}", flush=True)

    results = measure(plan, say)
    (plan.folder / "results.json").write_text(json.dumps(results, indent=1))
    report.write(results, plan.out)
    print(report.table(results))
    print(f"Written to {plan.out / report.PAGE}")
    if plan.is_whole:
        readme.fill(results, ROOT / "README.md")


if __name__ == "__main__":
    main()
