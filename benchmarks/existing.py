"""What it costs a search of the whole dataset to give samples that are there, in milliseconds.

    python scripts/mongod.py run FOLDER python benchmarks/existing.py

MongoDB is asked whether the k neighbours are in the dataset. The cost is the median difference
between blocks of searches with and without that question, which take turns. The last lines show
searches after a part of the samples was deleted, which search again. Takes a minute.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import services

import fiftyone_redis
from fiftyone_redis.similarity.view_subset import ViewSubset

_DIM = 512
_GOAL = 1.0
_BLOCK = 20  # searches of a kind, one after the other


def main() -> None:
    """Measures, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--searches", type=int, default=200, help="with, and as many without")
    arguments = parser.parse_args()
    fiftyone_redis.register()
    with tempfile.TemporaryDirectory() as folder, services.redis(Path(folder) / "redis") as port:
        dataset = fo.Dataset()
        try:
            _measure(dataset, port, arguments.samples, arguments.searches)
        finally:
            dataset.delete()


def _measure(dataset: Any, port: int, samples: int, searches: int) -> None:
    rng = np.random.default_rng(51)
    dataset.add_samples(
        (fo.Sample(filepath=f"{row}.png") for row in range(samples)), progress=False
    )
    ids = dataset.values("id")
    vectors = rng.normal(size=(samples, _DIM)).astype(np.float32)
    index = fob.compute_similarity(
        dataset,
        embeddings=vectors,
        brain_key="key",
        backend="redis",
        url=f"redis://127.0.0.1:{port}",
    )
    for k in (10, 25, 100):
        _report(k, partial(_search, index, rng, ids, k), searches)
    for share in (0.001, 0.2):
        gone = set(rng.choice(ids, round(share * samples), replace=False))
        dataset.delete_samples(list(gone))
        ids = [id for id in ids if id not in gone]
        taken = [_time(partial(_search, index, rng, ids, 10)) for _ in range(searches)]
        print(
            f"the 10 nearest, after {share:.1%} were deleted: median {_ms(taken):.2f} ms, slowest "
            f"{1e3 * max(taken):.1f} ms"
        )


def _search(index: Any, rng: np.random.Generator, ids: list[str], k: int) -> None:
    index._kneighbors(rng.choice(ids), k=k)


def _report(k: int, search: Callable[[], None], count: int) -> None:
    """Prints what the check costs a search."""
    costs, without = [], []
    for _ in range(max(1, count // _BLOCK)):
        checked = statistics.median(_time(search) for _ in range(_BLOCK))
        with patch.object(ViewSubset, "has_all", lambda *_: True):
            without.append(statistics.median(_time(search) for _ in range(_BLOCK)))
        costs.append(checked - without[-1])
    cost = _ms(costs)
    print(
        f"the {k} nearest: {cost:.3f} ms more than {_ms(without):.2f} ms; "
        f"goal at most {_GOAL:g} ms: {'reached' if cost <= _GOAL else 'missed'}"
    )


def _time(search: Callable[[], None]) -> float:
    start = time.perf_counter()
    search()
    return time.perf_counter() - start


def _ms(seconds: list[float]) -> float:
    return 1e3 * statistics.median(seconds)


if __name__ == "__main__":
    main()
