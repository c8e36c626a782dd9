"""Measures large indexes beside what the server, the memory and MongoDB can do at best.

Purpose: the tables and plots of large indexes in docs/benchmarks.md. Command: ``make
bench-million``, or ``python scripts/mongod.py run FOLDER python benchmarks/million.py [options]``.

Every combination of algorithm and type has a folder with a private server and ``figures.json``. A
phase that is there is not measured again, and a build that was interrupted goes on, so the same
command can be repeated until everything is measured. ``--stop`` stops the servers at the end and
deletes their data; the figures stay.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import data
import measure
import services

from fiftyone_redis import server
from fiftyone_redis.engine import Schema, VectorIndex, connect

ROOT = Path(__file__).resolve().parent.parent
INDEX = "million"


@dataclass(frozen=True)
class Variant:
    """One index to measure: its size, kind and folder."""

    count: int
    dim: int
    algorithm: str
    dtype: str
    folder: Path

    @property
    def name(self) -> str:
        """What the printed lines call it."""
        return f"{self.algorithm} {self.dtype} {self.count:,}"

    @property
    def schema(self) -> Schema:
        """The definition of its index."""
        return Schema(INDEX, self.dim, metric="cosine", algorithm=self.algorithm, dtype=self.dtype)


class Figures:
    """The figures of a variant, saved after each phase.

    Args:
        folder: where to save them
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "figures.json"
        self.known: dict[str, Any] = (
            json.loads(self._file.read_text()) if self._file.exists() else {}
        )

    def save(self, phase: str, found: Any) -> None:
        """Saves what a phase found."""
        self.known[phase] = found
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.known, indent=1))


def build(variant: Variant, figures: Figures, say: Callable[[str], None]) -> None:
    """Adds all vectors; goes on where an earlier build stopped."""
    found = figures.known.get("building", {"seconds": 0.0, "steps": [], "load": []})
    index = _open(variant)
    memory = measure.resident()
    for rows, vectors in data.clustered_blocks(variant.count, variant.dim, len(index)):
        ids = data.made_up_ids(rows.stop, rows.start)
        start = time.perf_counter()
        index.add(ids, vectors)
        seconds = time.perf_counter() - start
        found["seconds"] += seconds
        found["steps"].append([rows.stop, found["seconds"]])
        found["load"].append(round(os.getloadavg()[0], 2))
        found["client"] = measure.peak() - memory
        figures.save("building", found)
        say(f"{rows.stop:,} vectors, {len(ids) / seconds:,.0f}/s")
    figures.save("build", found | {"server": measure.server_memory(index.client)})


def _open(variant: Variant) -> VectorIndex:
    """Starts the variant's server unless it runs, and opens its index, or makes it."""
    folder = variant.folder / "redis"
    found = server.status(folder) if folder.exists() else None
    if found is None:
        found = server.start(folder, port=services.free_port())
    client = connect(f"redis://127.0.0.1:{found.port}")
    # A rewrite of the server's file takes a core at some moment, and the rates with it.
    client.config_set("auto-aof-rewrite-percentage", 0)
    if VectorIndex.exists(client, INDEX):
        return VectorIndex.open(client, INDEX)
    return VectorIndex.create(client, variant.schema)


PHASES: dict[str, Callable[[Variant, Figures, Callable[[str], None]], None]] = {"build": build}


def main() -> None:
    """Measures what is asked for and not measured yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--algorithm", nargs="+", default=["FLAT", "HNSW"])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float16"])
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=list(PHASES))
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench" / "million")
    given = parser.parse_args()
    for algorithm, dtype in product(given.algorithm, given.dtype):
        folder = given.folder.absolute() / f"{algorithm}-{dtype}-{given.count}"
        variant = Variant(given.count, given.dim, algorithm, dtype, folder)
        figures = Figures(folder)
        for phase in given.phases:
            if phase not in figures.known:
                PHASES[phase](variant, figures, partial(_say, f"{variant.name} {phase}"))


def _say(about: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {about}: {text}", flush=True)


if __name__ == "__main__":
    main()
