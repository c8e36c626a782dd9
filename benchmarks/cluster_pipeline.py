"""How fast documents are written to a cluster and read back: by us, and by redis-py's pipeline.

    python benchmarks/cluster_pipeline.py

``routing.py`` and redis-py's ``ClusterPipeline`` send the same HASHes in the same batches to a
cluster of three primaries, which this script starts; they take turns. Takes a minute.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cluster_check
import numpy as np
import redis

from fiftyone_redis.connection.cluster.cluster_client import Cluster, connect_cluster
from fiftyone_redis.connection.protocol.wire import pack_keyed
from fiftyone_redis.connection.retry import RetryPolicy

_COUNT, _DIM, _BATCH = 20_000, 512, 500

Commands = Sequence[Sequence[Any]]


def main() -> None:
    """Measures, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    vectors = np.random.default_rng(51).normal(size=(_COUNT, _DIM)).astype(np.float32)
    blobs = [vector.tobytes() for vector in vectors]
    writes = [["HSET", b"docs:%05d" % row, "vector", blob] for row, blob in enumerate(blobs)]
    reads = [["HGET", b"docs:%05d" % row, "vector"] for row in range(_COUNT)]
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster_check.run_cluster(Path(folder)) as ports,
        redis.Redis(port=ports[0], protocol=3, retry=RetryPolicy(0, 0)) as seed,
        connect_cluster(seed) as ours,
        redis.RedisCluster(host="127.0.0.1", port=ports[0], protocol=3) as theirs,
    ):
        ways: dict[str, Callable[[Commands], list[Any]]] = {
            "routing.py": partial(_exchange, ours),
            "ClusterPipeline": partial(_pipeline, theirs),
        }
        for what, commands, expected in (("written", writes, None), ("read", reads, blobs)):
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, send in ways.items():
                    start = time.perf_counter()
                    replies = send(commands)
                    times[name].append(time.perf_counter() - start)
                    if expected not in (None, replies):
                        raise RuntimeError(f"{name} read other vectors than were written.")
            for name, each in times.items():
                print(f"{_COUNT} vectors {what} by {name}: {statistics.median(each):.2f} s")


def _exchange(client: Cluster, commands: Commands) -> list[Any]:
    requests = (pack_keyed(batch, batch) for batch in _batches(commands))
    return [reply for _, replies in client.exchange(requests) for reply in replies]


def _pipeline(client: Any, commands: Commands) -> list[Any]:
    replies: list[Any] = []
    for batch in _batches(commands):
        pipeline = client.pipeline()
        for command in batch:
            pipeline.execute_command(*command)
        replies += pipeline.execute()
    return replies


def _batches(commands: Commands) -> Iterable[Commands]:
    return (commands[start : start + _BATCH] for start in range(0, len(commands), _BATCH))


if __name__ == "__main__":
    main()
