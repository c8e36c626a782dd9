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
import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import bare
import data
import fiftyone as fo
import measure
import numpy as np
import ping
import services
from million_dataset import open_dataset, search_view

import fiftyone_redis
from fiftyone_redis import server
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.search import exact_search
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.similarity.graph_points import GraphPoints

ROOT = Path(__file__).resolve().parent.parent
INDEX = "million"
K = 10

_COMPARED = {"FLAT": 200_000, "HNSW": 20_000}
_SEARCHES, _VIEW_SEARCHES, _RECALLED = 21, 5, 20_000
_COMPARED_AT_ONCE = 2_000  # rows of the distances to a block
_VIEWS = (0.0002, 0.002, 0.02, 0.2, 0.5, 0.8, 0.95)

Say = Callable[[str], None]


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


def build(variant: Variant, figures: Figures, say: Say) -> None:
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
    found["cpu"] = _server_seconds(index.client)  # since it was started
    figures.save("build", found | {"server": measure.server_memory(index.client)})


def compare_build(variant: Variant, figures: Figures, say: Say) -> None:
    """Writes the first vectors by the engine and by a bare socket in turn, on two new servers."""
    folders = [variant.folder / "engine", variant.folder / "socket"]
    seconds = {"engine": 0.0, "socket": 0.0, "count": 0}
    most = min(variant.count, _COMPARED[variant.algorithm])
    try:
        clients = [_start(folder) for folder in folders]
        index = VectorIndex.create(clients[0], variant.schema)
        VectorIndex.create(clients[1], variant.schema)
        port = _port(clients[1])
        for rows, vectors in data.clustered_blocks(variant.count, variant.dim):
            if rows.start >= most:
                break
            ids = data.made_up_ids(rows.stop, rows.start)
            encoded = encoding.encode(vectors, variant.dtype)
            prepared = bare.requests(f"{INDEX}:", ids, encoded)
            seconds["socket"] += _time(partial(bare.push, port, prepared, len(ids)))
            seconds["engine"] += _time(partial(index.add, ids, vectors))
            seconds["count"] = rows.stop
    finally:
        for folder in folders:
            server.stop(folder)
            shutil.rmtree(folder, ignore_errors=True)
    say(f"{seconds['socket'] / seconds['engine']:.2f} of the bare socket's rate")
    figures.save("bare", seconds | {"load": os.getloadavg()[0]})


def search(variant: Variant, figures: Figures, say: Say) -> None:
    """Searches everything, sends bare FT.SEARCH, and reads as many bytes by numpy, in turn."""
    index = _open(variant)
    size = variant.count * variant.dim * DTYPES[variant.dtype]
    memory = np.ones(size // 8)
    queries = _queries(variant, 2 * _SEARCHES)
    index.search(queries[:1], K)
    ours, reading, _ = measure.in_turn(
        lambda run: index.search(queries[[run]], K),
        # One thread, as the server has one; the fastest way to read of those that numpy has.
        lambda _: np.maximum.reduce(memory),
        rounds=1,
        each=_SEARCHES,
    )
    redis_py = bare.client(_port(index.client))
    blobs = [row.tobytes() for row in encoding.encode(queries, variant.dtype)]
    _, command, more = measure.in_turn(
        lambda run: index.search(queries[[run]], K),
        lambda run: bare.search(redis_py, INDEX, blobs[run], K),
        rounds=1,
        each=_SEARCHES,
    )
    # The processors' time hardly depends on who else uses the machine, as the time does.
    before = _server_seconds(index.client)
    for query in queries[:_SEARCHES]:
        index.search(query[None], K)
    busy = (_server_seconds(index.client) - before) / _SEARCHES
    before = time.process_time()
    for _ in range(_SEARCHES):
        np.maximum.reduce(memory)
    reading_busy = (time.process_time() - before) / _SEARCHES
    say(
        f"{ours[0] * 1e3:.1f} ms, {more[0] * 1e3:+.2f} ms to bare FT.SEARCH; "
        f"the memory {reading[0] * 1e3:.1f} ms for {size / 1e9:.2f} GB; "
        f"processor time {busy * 1e3:.1f} and {reading_busy * 1e3:.1f} ms"
    )
    found = {"seconds": ours[0], "memory": reading[0], "bytes": size}
    found |= {"command": command[0], "more": more[0]}
    found |= {"server": busy, "memory_cpu": reading_busy, "load": os.getloadavg()[0]}
    found["size"] = len(index)
    figures.save("search", found)


def views(variant: Variant, figures: Figures, say: Say) -> None:
    """Searches views by FiftyOne, and asks MongoDB alone how many samples they have."""
    dataset = open_dataset(variant.count, INDEX, _port(_open(variant).client))
    ids = data.made_up_ids(variant.count)
    rng = np.random.default_rng(51)
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    for share in _VIEWS:
        ours, mongo = [], []
        for _ in range(_VIEW_SEARCHES):
            # Another view object each time, as FiftyOne remembers what it knows of one.
            one, other = (dataset.match(fo.ViewField("share") < share) for _ in range(2))
            mongo.append(_time(one.count))
            ours.append(_time(partial(search_view, other, ids[rng.integers(variant.count)], K)))
        took, alone = statistics.median(ours), statistics.median(mongo)
        found[f"{share:g}"] = {"seconds": took, "mongo": alone}
        say(f"{share:.2%}: {took * 1e3:.0f} ms; MongoDB alone {alone * 1e3:.0f} ms")
    figures.save("views", found)


def points(variant: Variant, figures: Figures, say: Say, most: int | None = None) -> None:
    """Finds the neighbours of all points through the graph, or of the first ones."""
    if variant.algorithm == "FLAT":
        return
    index, ids = _open(variant), data.made_up_ids(variant.count)
    memory, load = measure.resident(), os.getloadavg()[0]
    most_memory = memory  # not measure.peak(): other phases may have held more
    count = min(variant.count, most or variant.count)
    before = _server_seconds(index.client)
    rows = np.zeros((count, K), int)
    start = time.perf_counter()
    with closing(GraphPoints(index, ids).find_neighbors(K)) as found:
        for row, (near, _) in enumerate(islice(found, count)):
            rows[row, : len(near)] = near
            if (row + 1) % 10_000 == 0:
                most_memory = max(most_memory, measure.resident())
                say(f"{row + 1:,} points in {time.perf_counter() - start:.0f} s")
    seconds = time.perf_counter() - start
    figures.save(
        "points",
        {
            "count": count,
            "size": len(index),
            "seconds": seconds,
            "server": _server_seconds(index.client) - before,
            "client": most_memory - memory,
            "load": [load, os.getloadavg()[0]],
        },
    )
    np.save(variant.folder / "neighbors.npy", rows)
    say(f"{count:,} points in {seconds:.0f} s, {1e6 * seconds / count:.0f} us each")


def recall(variant: Variant, figures: Figures, say: Say) -> None:
    """Compares some of the neighbours with those that brute force finds."""
    if variant.algorithm == "FLAT":
        return
    neighbors = np.load(variant.folder / "neighbors.npy")
    rows = np.random.default_rng(51).choice(
        len(neighbors), min(_RECALLED, len(neighbors)), replace=False
    )
    parts = np.array_split(rows, -(-len(rows) // _COMPARED_AT_ONCE))
    queries, size = data.unit(_rows(variant, rows)), len(_open(variant))
    groups = np.array_split(queries, len(parts))
    best = [(np.zeros((len(part), 0)), np.zeros((len(part), 0), int)) for part in parts]
    for at, vectors in data.clustered_blocks(variant.count, variant.dim):
        numbers, block = np.arange(at.start, at.stop), data.unit(vectors).T
        for number, part in enumerate(parts):
            far = -(groups[number] @ block)
            far[(part[:, None] == numbers) | (numbers >= size)] = np.inf
            best[number] = exact_search.merge(best[number], far.astype(float), at.start, K)
    nearest = np.concatenate([indices for _, indices in best])
    hits = sum(len(set(a) & set(b)) for a, b in zip(neighbors[rows], nearest, strict=True))
    share = hits / (K * len(rows))
    say(f"{share:.4f} on {len(rows):,} points")
    figures.save("recall", {"recall": share, "points": len(rows)})


def pings(variant: Variant, figures: Figures, say: Say) -> None:
    """Pings the server beside each kind of work; the index is gone afterwards."""
    if variant.algorithm != "FLAT":
        return
    index = _open(variant)
    port = _port(index.client)
    tenth = data.made_up_ids(variant.count // 10)
    works: dict[str, Callable[[], object]] = {
        "idle": lambda: time.sleep(10),
        "remove": lambda: index.remove(tenth),
        "add": partial(_add_some, variant, index, len(tenth)),
        "rebuild": lambda: index.rebuild(metric="euclidean"),
        "drop": index.drop,
    }
    found: dict[str, Any] = {}
    for name, work in works.items():
        with ping.beside(port) as waits:
            seconds = _time(work)
        found[name] = waits | {"seconds": seconds, "load": os.getloadavg()[0]}
        say(f"{name}: {seconds:.1f} s, the longest PING {waits['worst']:.1f} ms")
    figures.save("pings", found)


def _open(variant: Variant) -> VectorIndex:
    """Opens the index of a variant, or makes it, on its server, which is started if needed."""
    client = _start(variant.folder / "redis")
    if VectorIndex.exists(client, INDEX):
        return VectorIndex.open(client, INDEX)
    return VectorIndex.create(client, variant.schema)


def _start(folder: Path) -> Any:
    """Returns a client of a folder's server, over TCP; starts the server unless it runs."""
    found = server.status(folder) if folder.exists() else None
    if found is None:
        found = server.start(folder, port=services.free_port())
    client = connect(f"redis://127.0.0.1:{found.port}")
    # A rewrite of the server's file takes a core at some moment, and the rates with it.
    client.config_set("auto-aof-rewrite-percentage", 0)
    return client


def _port(client: Any) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


def _add_some(variant: Variant, index: VectorIndex, count: int) -> None:
    for rows, vectors in data.clustered_blocks(variant.count, variant.dim):
        if rows.start >= count:
            return
        index.add(data.made_up_ids(rows.stop, rows.start), vectors)


def _queries(variant: Variant, count: int) -> data.Matrix:
    rng = np.random.default_rng(51)
    return _rows(variant, rng.choice(variant.count, min(count, variant.count), replace=False))


def _rows(variant: Variant, rows: Any) -> data.Matrix:
    """Returns some of the vectors, in that order."""
    found = np.empty((len(rows), variant.dim), np.float32)
    for at, vectors in data.clustered_blocks(variant.count, variant.dim):
        inside = (rows >= at.start) & (rows < at.stop)
        found[inside] = vectors[rows[inside] - at.start]
    return found


def _server_seconds(client: Any) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


PHASES: dict[str, Callable[..., None]] = {
    "build": build,
    "bare": compare_build,
    "search": search,
    "views": views,
    "points": points,
    "recall": recall,
    "pings": pings,
}


def main() -> None:
    """Measures what is asked for and not measured yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--algorithm", nargs="+", default=["FLAT", "HNSW"])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float16"])
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=list(PHASES))
    parser.add_argument("--points", type=int, help="how many of all points are searched for")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench" / "million")
    parser.add_argument("--stop", action="store_true", help="stop the servers, delete their data")
    given = parser.parse_args()
    fiftyone_redis.register()
    PHASES["points"] = partial(points, most=given.points)
    for count, algorithm, dtype in product(given.count, given.algorithm, given.dtype):
        folder = given.folder.absolute() / f"{algorithm}-{dtype}-{count}"
        variant = Variant(count, given.dim, algorithm, dtype, folder)
        figures = Figures(folder)
        for phase in given.phases:
            if phase not in figures.known:
                PHASES[phase](variant, figures, partial(_say, f"{variant.name} {phase}"))
        if given.stop:
            server.stop(folder / "redis")
            shutil.rmtree(folder / "redis", ignore_errors=True)


def _say(about: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {about}: {text}", flush=True)


if __name__ == "__main__":
    main()
