"""What two precautions cost a search: the check of a cluster, and FT.INFO beside the query.

    python benchmarks/cluster_check.py

A search of a cluster is accepted only if the cluster was complete before and after it, as checked
by ``complete_answers.py``; and every search checks that the index is still the same.
Both are measured on servers that this script starts, as the difference between searches with and
without, in blocks that take turns. Takes a minute.

Redis Stack 7.4 lacks SEARCH.CLUSTERINFO; CLUSTER SHARDS, whose reply is longer, stands in for it,
and one node has all documents, which it searches alone.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import redis
import services

from fiftyone_redis import server
from fiftyone_redis.connection import topology
from fiftyone_redis.connection.cluster import cluster_client, complete_answers, primaries
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.protocol import commands, replies
from fiftyone_redis.engine.search import knn_search
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.server.program import Program, build_command, build_environment

_DIM, _COUNT, _K = 16, 1000, 10
_BLOCK = 100
_READY_SECONDS = 30.0


def main() -> None:
    """Measures, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--searches", type=int, default=4000, help="with, and as many without")
    blocks = max(1, parser.parse_args().searches // _BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        with run_cluster(Path(folder)) as ports:
            report("check of a cluster of 3 primaries", _check(ports, blocks), 1.0)
        with services.redis(Path(folder) / "one") as port:
            report("FT.INFO beside a search, one server", _info(port, blocks), 0.1)


def report(what: str, costs: list[float], goal: float) -> None:
    """Prints the median of costs in milliseconds, and the middle half of them."""
    low, median, high = statistics.quantiles(costs, n=4)
    spread = f"half of {len(costs)} blocks of {_BLOCK} within {low:.3f}..{high:.3f}"
    verdict = "reached" if median <= goal else "missed"
    print(f"{what}: {median:.3f} ms a search ({spread}); goal at most {goal:g} ms: {verdict}")


def compare(
    with_it: Callable[[], object], without: Callable[[], object], blocks: int
) -> list[float]:
    """Returns for each pair of blocks by how many milliseconds the median of one is longer."""
    for work in (with_it, without):
        _median(work)  # warms up
    return [_median(with_it) - _median(without) for _ in range(blocks)]


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_BLOCK):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _check(ports: list[int], blocks: int) -> list[float]:
    """Measures the check of a cluster."""
    seed = redis.Redis(port=ports[0], protocol=3, retry=RetryPolicy(0, 0))
    client: Any = cluster_client.connect_cluster(seed)
    schema, vectors = Schema("{docs}", _DIM), _vectors()
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(seed.close)
        owner = client.get_node_from_key(schema.name)
        names = sorted(str(node.name) for node in client.get_primaries())
        stack.enter_context(
            patch.object(cluster_client, "_PREFERRED", names.index(str(owner.name)))
        )
        client.execute(*commands.create(schema))
        for row, vector in enumerate(vectors):
            client.execute("HSET", f"{schema.prefix}{row}", "vector", vector.tobytes())
        query = commands.knn(schema, vectors[0].tobytes(), _K, timeout_ms=30_000)
        known = client.known
        shards = wire.pack(["CLUSTER", "SHARDS"])
        stack.enter_context(patch.object(primaries, "_STATE", shards + primaries._NODES))
        stack.enter_context(patch.object(topology, "read_searched", _living_primaries))

        def search_with(is_checked: bool) -> None:
            known.has_coordinator = is_checked
            client.execute(*query)

        time.sleep(complete_answers.SETTLE_SECONDS + 1)
        return compare(lambda: search_with(True), lambda: search_with(False), blocks)


def _info(port: int, blocks: int) -> list[float]:
    """Measures FT.INFO beside a search."""
    with connect(port=port) as client:
        index, vectors = VectorIndex.create(client, Schema("docs", _DIM)), _vectors()
        index.add([str(row) for row in range(_COUNT)], vectors)
        query = vectors[:1]

        def search_as(answers: Callable[..., object]) -> None:
            with patch.object(knn_search, "_query_server", answers):
                index.search(query, _K)

        usual = knn_search._query_server
        return compare(lambda: search_as(usual), lambda: search_as(_answers_alone), blocks)


def _answers_alone(request: knn_search.KnnRequest, blobs: list[bytes], k: int) -> object:
    """Does what the engine's own function does, without FT.INFO."""
    schema, timeout_ms = request.schema, request.timeout_ms
    queries = [commands.knn(schema, blob, k, timeout_ms=timeout_ms) for blob in blobs]
    requests = (wire.pack_queries([each], [None]) for each in queries)
    found = [reply for _, page in request.documents.client.exchange(requests) for reply in page]
    return [replies.read_hits(reply, request.schema) for reply in found]


def _living_primaries(shards: object) -> list[topology.Node]:
    """Reads CLUSTER SHARDS in the place of SEARCH.CLUSTERINFO."""
    found = map(topology.find_living_primary, topology.read_shards(shards))
    return [node for node in found if node is not None]


def _vectors() -> encoding.Array:
    return np.random.default_rng(51).normal(size=(_COUNT, _DIM)).astype(np.float32)


@contextmanager
def run_cluster(folder: Path) -> Iterator[list[int]]:
    """Runs three primaries that form a cluster, and yields their ports."""
    found = server.find_program()
    program = Program(found.executable, found.modules[:1], found.libraries)
    ports, buses = ([services.free_port() for _ in range(3)] for _ in range(2))
    with ExitStack() as stack:
        for port, bus in zip(ports, buses, strict=True):
            stack.callback(_ended, _started(program, folder, port, bus))
        nodes = [redis.Redis(port=port, protocol=3, retry=RetryPolicy(0, 0)) for port in ports]
        for node in nodes:
            stack.callback(node.close)
            _wait(node.ping)
        bounds = [number * topology.SLOTS // 3 for number in range(4)]
        for node, first, end in zip(nodes, bounds, bounds[1:], strict=False):
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], buses[0])
        _wait(lambda: all(map(_is_ready, nodes)))
        yield ports


def _is_ready(node: redis.Redis) -> bool:
    is_up = b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO")
    return is_up and len(_living_primaries(node.execute_command("CLUSTER", "SHARDS"))) == 3


def _started(program: Program, folder: Path, port: int, bus: int) -> subprocess.Popen[bytes]:
    own = folder / str(port)
    own.mkdir()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "cluster-enabled": "yes",
        "cluster-port": str(bus),
    }
    return subprocess.Popen(
        build_command(program, options),
        cwd=own,
        env=build_environment(program, own),
        stdout=subprocess.DEVNULL,
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _wait(is_done: Callable[[], object]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(redis.RedisError):
            if is_done():
                return
        time.sleep(0.05)
    raise RuntimeError(f"The cluster was not ready within {_READY_SECONDS:g} s.")


if __name__ == "__main__":
    main()
