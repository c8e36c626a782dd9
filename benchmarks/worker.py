"""Does the same work with any of FiftyOne's similarity backends; run by run.py, in any environment.

Purpose: one contender's figures. Command: ``python worker.py JOB FD``, see jobs.py.
Knobs: those of data.Sizes. Warm-up: one query of each kind before the timed ones; its time is kept
apart as the first call. Building and reading are not warmed up. Configuration: cosine; the rest as
contenders.py says. FiftyOne's database, HOME and configuration are whatever the environment
variables say, which run.py sets to a place of its own.

Works:

- ``datasets``: makes the datasets, once for all contenders
- ``environment``: which class and packages really are at work
- ``build``: ``add_to_index()`` with an array, into a new index each time
- ``read``: ``get_embeddings()`` of everything
- ``by id``: ``index._kneighbors(query=id, k=10)``; for this package in turn with the bare commands
- ``search 100 %``: ``dataset.sort_by_similarity(id, k=10, brain_key)`` and ``.values("id")`` of it
- ``search 20 %`` and so on: the same in a view that a random field makes
- ``all points``: ``index._kneighbors(k=10, return_dists=True)``
- ``memory N``: how much more memory than the array itself a build of N vectors takes
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import data
import fiftyone as fo
import fiftyone.brain as fob
import measure
import numpy as np
from contenders import OURS, by_name, connection
from fiftyone import ViewField as F
from jobs import Figures, Job, perform, versions

K = 10

_REST = 0.5  # seconds


@dataclass
class Bench:
    """A dataset, its data in the same order, and the index, once there is one."""

    job: Job
    dataset: Any
    vectors: data.Matrix
    ids: Any
    index: Any = None

    @property
    def key(self) -> str:
        """The brain key, another one for each contender: a saved run loads its own backend."""
        return self.job.contender.replace("-", "_")


def opened(job: Job, name: str, count: int) -> Bench:
    """Takes up a dataset, and the index of it that an earlier process may have made."""
    dataset = fo.load_dataset(name)
    ids = np.array(dataset.values("id"))
    bench = Bench(job, dataset, data.clustered(count, job.sizes.dim), ids)
    if dataset.has_brain_run(bench.key):
        index = dataset.load_brain_results(bench.key)
        if index.total_index_size == count:
            bench.index = index
    return bench


def make_datasets(job: Job) -> Figures:
    """Makes the datasets, without media."""
    for name, count in (
        (data.DATASET, job.sizes.count),
        (data.POINTS_DATASET, job.sizes.points),
    ):
        made = fo.Dataset(name, persistent=True, overwrite=True)
        samples = (
            fo.Sample(filepath=f"/nowhere/{row}.jpg", share=float(share))
            for row, share in enumerate(data.shares(count))
        )
        made.add_samples(samples, progress=False, num_samples=count)
    return {}


def environment(bench: Bench) -> Figures:
    """Tells which class and versions are at work, and which BLAS numpy calculates with."""
    renew(bench)
    pools = import_module("threadpoolctl").threadpool_info()
    # Other packages bring a BLAS of their own.
    blas: dict[str, Any] = next((p for p in pools if "numpy" in p["filepath"]), {})
    packages = ("fiftyone", "fiftyone-brain", "numpy", *by_name(bench.job.contender).packages)
    return {
        "class": f"{type(bench.index).__module__}.{type(bench.index).__name__}",
        "versions": versions(packages),
        "blas": " ".join(
            str(blas.get(name)) for name in ("internal_api", "version", "architecture")
        ),
        "threads": blas.get("num_threads"),
    }


def build(bench: Bench) -> Figures:
    """Adds an array to a new index; on Redis, the server's memory is looked at, too."""
    sizes = bench.job.sizes
    on_redis = by_name(bench.job.contender).on_redis
    seconds: list[float] = []
    grown: list[int] = []
    while len(seconds) < sizes.runs and sum(seconds) < sizes.limit:
        # Some backends change the array that they are given.
        vectors = bench.vectors.copy()
        renew(bench)
        before = measure.server_memory(bench.index.client) if on_redis else 0
        start = time.perf_counter()
        bench.index.add_to_index(vectors, bench.ids)
        seconds.append(time.perf_counter() - start)
        if on_redis:
            grown.append(measure.server_memory(bench.index.client) - before)
    figures: Figures = {"seconds": seconds, "size": bench.index.total_index_size}
    return figures | {"memory": grown} if on_redis else figures


def read(bench: Bench) -> Figures:
    """Reads all embeddings back."""
    sizes = bench.job.sizes
    wanted = {"sample_ids": bench.ids} if by_name(bench.job.contender).reads_by_id else {}
    shapes: list[Any] = []

    def get(_run: int) -> None:
        shapes.append(bench.index.get_embeddings(**wanted)[0].shape)

    seconds = measure.repeat(get, runs=sizes.runs, limit=sizes.limit)
    return {"seconds": seconds, "shape": shapes[0]}


def by_id(bench: Bench) -> Figures:
    """Finds ids by id, at the level of FiftyOne's index."""
    sizes = bench.job.sizes
    queries = _queries(len(bench.ids), 1000)

    def ask(run: int) -> Any:
        return bench.index._kneighbors(query=bench.ids[queries[run % 1000]], k=K)

    ask(-1)
    if bench.job.contender != OURS:
        rounds = range(sizes.runs * 2 - 1)
        seconds = [measure.repeat(ask, runs=10, limit=sizes.limit / 10) for _ in rounds]
        return {"seconds": [float(np.median(each)) for each in seconds]}

    from bare import client, nearest  # noqa: PLC0415  (only this contender's environment has it)

    name, redis = bench.index.config.index_name, client(bench.job.port)

    def ask_bare(run: int) -> Any:
        return nearest(redis, name, f"{name}:{bench.ids[queries[run % 1000]]}", K)

    ask_bare(-1)
    ours, bare, more = measure.in_turn(ask, ask_bare, rounds=sizes.runs * 2 - 1, each=50)
    return {"seconds": ours, "bare": bare, "more": more}


def search(bench: Bench, share: float) -> Figures:
    """Searches a view, or the whole dataset, and reads the ids of the result."""
    sizes = bench.job.sizes
    time.sleep(_REST)  # numpy's threads go on spinning after the brute force of the search before
    rows = np.flatnonzero(data.shares(len(bench.ids)) < share)
    queries = rows[_queries(len(rows), sizes.queries + 1)]
    found: list[list[str]] = []

    def ask(run: int) -> None:
        # A new view each time: FiftyOne keeps what it found out about one.
        view = bench.dataset if share == 1 else bench.dataset.match(F("share") < share)
        query = bench.ids[queries[run]]
        found.append(view.sort_by_similarity(query, k=K, brain_key=bench.key).values("id"))

    first = measure.repeat(ask, runs=1, limit=0)
    seconds = measure.repeat(lambda run: ask(run + 1), runs=sizes.queries, limit=sizes.limit / 6)
    units = data.unit(bench.vectors[rows])
    wanted = [
        bench.ids[rows[data.nearest(units, data.unit(bench.vectors[[row]])[0], K)]].tolist()
        for row in queries[: len(found)]
    ]
    recall = data.recall(found, wanted)
    return {"seconds": seconds, "first": first, "recall": recall, "size": len(rows)}


def all_points(bench: Bench) -> Figures:
    """Finds the neighbours of all points at once."""
    sizes = bench.job.sizes
    _build(bench)
    found: list[Any] = []

    def ask(_run: int) -> None:
        found[:] = bench.index._kneighbors(k=K, return_dists=True)

    seconds = measure.repeat(ask, runs=sizes.runs, limit=sizes.limit)
    order = {id: row for row, id in enumerate(bench.ids)}
    at = [order[id] for id in bench.index.current_sample_ids]
    units = data.unit(bench.vectors)
    checked = range(0, len(at), max(1, len(at) // 100))
    wanted = [
        [row for row in data.nearest(units, units[at[point]], K + 1) if row != at[point]]
        for point in checked
    ]
    got = [[at[other] for other in found[0][point]] for point in checked]
    return {"seconds": seconds, "recall": data.recall(got, wanted)}


def memory(job: Job, count: int) -> Figures:
    """Builds an index, and compares this process's peak of memory with what it held before."""
    bench = Bench(job, fo.load_dataset(data.DATASET), data.clustered(0, 1), None)
    renew(bench)
    vectors, ids = data.clustered(count, job.sizes.dim), np.array(data.made_up_ids(count))
    before, peak_before = measure.resident(), measure.peak()
    bench.index.add_to_index(vectors, ids)
    return {
        "more": measure.peak() - before,
        "before": before,
        "peak before": peak_before,
        "array": vectors.nbytes,
    }


def renew(bench: Bench) -> None:
    """Puts a new, empty index in the place of the one there is."""
    if bench.dataset.has_brain_run(bench.key):
        bench.dataset.delete_brain_run(bench.key)
    contender = by_name(bench.job.contender)
    bench.index = fob.compute_similarity(
        bench.dataset,
        embeddings=False,
        brain_key=bench.key,
        backend=contender.backend,
        metric="cosine",
        **contender.settings,
    )
    if contender.on_redis:
        measure.compact(bench.index.client)


def works(job: Job) -> dict[str, Callable[[], Figures]]:
    """Returns all works by name."""
    benches: dict[str, Bench] = {}

    def on(name: str, count: int, work: Callable[[Bench], Figures]) -> Figures:
        if name not in benches:
            benches[name] = opened(job, name, count)
        bench = benches[name]
        if bench.index is None and work not in {build, environment, all_points}:
            _build(bench)
        return work(bench)

    everything = partial(on, data.DATASET, job.sizes.count)
    known: dict[str, Callable[[], Figures]] = {
        "datasets": partial(make_datasets, job),
        "environment": partial(everything, environment),
        "build": partial(everything, build),
        "read": partial(everything, read),
        "by id": partial(everything, by_id),
        "all points": partial(on, data.POINTS_DATASET, job.sizes.points, all_points),
    }
    for share in (*data.SHARES, 1.0):
        known[data.search_name(share)] = partial(everything, partial(search, share=share))
    for count in {job.sizes.count, job.sizes.steps[-1]}:
        known[f"memory {count}"] = partial(memory, job, count)
    return known


def _build(bench: Bench) -> None:
    renew(bench)
    bench.index.add_to_index(bench.vectors.copy(), bench.ids)


def _queries(below: int, count: int) -> Any:
    """Returns random rows, the same ones for every contender."""
    return np.random.default_rng(below).integers(below, size=count)


def main() -> None:
    """Does the job on the command line."""
    job = Job.loads(sys.argv[1])
    contender = by_name(job.contender)
    if contender.name == OURS:
        import_module("fiftyone_redis")  # puts itself behind backend="redis"
    backends = fob.brain_config.similarity_backends
    backends[contender.backend].update(connection(contender, Path(job.folder), job.port))
    perform(job.works, works(job), int(sys.argv[2]))


if __name__ == "__main__":
    main()
