"""Measures the engine against what the server can do at best; run by run.py.

Purpose: how much of the server's own speed the engine passes on, how its cost grows, what memory
its types take, and what HNSW trades. No FiftyOne here. Command: ``python engine_worker.py JOB FD``,
see jobs.py. Knobs: those of data.Sizes. Warm-up: one unmeasured round of writing; some queries.
Configuration: cosine, FLAT unless said; engine and bare commands alike over TCP to the same private
server (Redis that appends to a file every second), in turn.

Works:

- ``write``: the engine's ``add()`` against the same bytes pushed down a socket, and against
  redis-py's pipeline (bare.py)
- ``memory float32``, ``memory float16``: what the server holds after it
- ``by id``: ``search_ids([id])`` against redis-py's HGET and FT.SEARCH
- ``rates N``: writing and reading N vectors
- ``hnsw clustered``, ``hnsw uniform``: recall@10 against latency over EF_RUNTIME
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import bare
import data
import measure
import numpy as np
from jobs import Figures, Job, perform

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.vectors import encoding

K = 10
EFS = (10, 20, 50, 100, 200, 500)

_HNSW_QUERIES = 200


def write(job: Job) -> Figures:
    """Writes by the engine, the bare socket and redis-py in turn, into a new index each time."""
    sizes = job.sizes
    ids, vectors = data.made_up_ids(sizes.count), data.clustered(sizes.count, sizes.dim)
    prepared = bare.requests("write:", ids, vectors)
    redis = bare.client(job.port)

    def once(action: Callable[[VectorIndex], object]) -> float:
        index = _new_index(job, sizes.dim)
        start = time.perf_counter()
        action(index)
        seconds = time.perf_counter() - start
        if len(index) != sizes.count:
            raise RuntimeError(f"The index holds {len(index)} vectors instead of {sizes.count}.")
        return seconds

    def engine(index: VectorIndex) -> None:
        index.add(ids, vectors)

    def socket(_index: VectorIndex) -> None:
        bare.push(job.port, prepared, sizes.count)

    def pipeline(_index: VectorIndex) -> None:
        bare.pipeline(redis, "write:", ids, vectors)

    actions = {"seconds": engine, "bare": socket, "pipeline": pipeline}
    rounds = [[once(action) for action in actions.values()] for _ in range(sizes.runs + 3)][1:]
    return dict(zip(actions, map(list, zip(*rounds, strict=True)), strict=True))


def memory(job: Job, dtype: str) -> Figures:
    """Looks at the server's memory before and after writing."""
    sizes = job.sizes
    ids, vectors = data.made_up_ids(sizes.count), data.clustered(sizes.count, sizes.dim)
    grown = []
    for _ in range(sizes.runs):
        index = _new_index(job, sizes.dim, dtype=dtype)
        before = measure.server_memory(index.client)
        index.add(ids, vectors)
        grown.append(measure.server_memory(index.client) - before)
    return {"memory": grown}


def by_id(job: Job) -> Figures:
    """Searches everything, id in and ids out, by the engine and by redis-py in turn."""
    sizes = job.sizes
    ids = data.made_up_ids(sizes.count)
    index = _new_index(job, sizes.dim)
    index.add(ids, data.clustered(sizes.count, sizes.dim))
    redis = bare.client(job.port)
    queries = np.random.default_rng(0).integers(sizes.count, size=1000)

    def engine(run: int) -> object:
        return index.search_ids([ids[queries[run % 1000]]], K)[0].ids

    def redis_py(run: int) -> object:
        key = index.schema.prefix + ids[queries[run % 1000]]
        return bare.nearest(redis, index.schema.name, key, K)

    measure.in_turn(engine, redis_py, rounds=1, each=10)
    seconds, bare_seconds, more = measure.in_turn(
        engine, redis_py, rounds=sizes.runs * 2 - 1, each=50
    )
    return {"seconds": seconds, "bare": bare_seconds, "more": more}


def rates(job: Job, count: int) -> Figures:
    """Writes and reads a number of vectors."""
    sizes = job.sizes
    ids, vectors = data.made_up_ids(count), data.clustered(count, sizes.dim)
    index = _new_index(job, sizes.dim)
    written = measure.repeat(
        lambda _: index.add(ids, vectors),
        runs=sizes.runs,
        limit=sizes.limit,
        prepare=lambda: _new_index(job, sizes.dim),
    )
    got = measure.repeat(
        lambda _: index.fetch(list(index.ids())), runs=sizes.runs, limit=sizes.limit
    )
    return {"write": written, "read": got, "size": len(index)}


def hnsw(job: Job, kind: str) -> Figures:
    """Builds one HNSW index, and searches it with several EF_RUNTIMEs."""
    sizes = job.sizes
    dim = sizes.dim if kind == "clustered" else sizes.uniform_dim
    make = data.clustered if kind == "clustered" else data.uniform
    everything = make(sizes.count + _HNSW_QUERIES, dim)
    vectors, queries = everything[: sizes.count], everything[sizes.count :]
    ids = data.made_up_ids(sizes.count)
    index = _new_index(job, dim, algorithm="HNSW")
    build = measure.repeat(lambda _: index.add(ids, vectors), runs=1, limit=0)
    units = data.unit(vectors)
    wanted = [[ids[row] for row in data.nearest(units, q, K)] for q in data.unit(queries)]

    curve = [
        _point(job, index, queries, wanted, ef) for ef in sorted({*EFS, index.schema.ef_runtime})
    ]
    found = [index.search([query], K)[0].ids for query in queries]
    return {
        "build": build,
        "curve": curve,
        "default": {"ef": index.schema.ef_runtime, "recall": data.recall(found, wanted)},
        "m": index.schema.m,
        "ef_construction": index.schema.ef_construction,
        "dim": dim,
    }


def _point(
    job: Job, index: VectorIndex, queries: data.Matrix, wanted: list[list[Any]], ef: int
) -> Figures:
    """Returns recall and latency at one EF_RUNTIME, all queries several times over."""
    redis, prefix = bare.client(job.port), len(index.schema.prefix)
    blobs = [blob.tobytes() for blob in encoding.encode(queries, index.schema.dtype)]
    found: list[list[str]] = []
    medians = []
    for _ in range(job.sizes.runs + 1):
        found.clear()
        seconds = []
        for blob in blobs:
            start = time.perf_counter()
            keys = bare.search(redis, index.schema.name, blob, K, ef)
            seconds.append(time.perf_counter() - start)
            found.append([key[prefix:] for key in keys])
        medians.append(statistics.median(seconds))
    return {"ef": ef, "recall": data.recall(found, wanted), "seconds": medians[1:]}


def _new_index(job: Job, dim: int, **settings: str) -> VectorIndex:
    """Empties the server, and makes an index."""
    client = connect(f"redis://127.0.0.1:{job.port}")
    client.flushall()
    measure.compact(client)
    schema: Any = partial(Schema, "write", dim, metric="cosine")
    return VectorIndex.create(client, schema(**settings))


def main() -> None:
    """Does the job on the command line."""
    job = Job.loads(sys.argv[1])
    known: dict[str, Callable[[], Figures]] = {
        "write": partial(write, job),
        "memory float32": partial(memory, job, "float32"),
        "memory float16": partial(memory, job, "float16"),
        "by id": partial(by_id, job),
        "hnsw clustered": partial(hnsw, job, "clustered"),
        "hnsw uniform": partial(hnsw, job, "uniform"),
    }
    for count in job.sizes.steps:
        known[f"rates {count}"] = partial(rates, job, count)
    perform(job.works, known, int(sys.argv[2]))


if __name__ == "__main__":
    main()
