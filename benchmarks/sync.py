"""What `index.sync()` takes after 100 changes in datasets of growing size.

    python scripts/mongod.py run FOLDER python benchmarks/sync.py [COUNT ...]

Prints for each size the seconds of a sync that has nothing to do, of one after 100 new samples, and
of one after 100 deleted samples, which compares all ids; and the most memory that the last took.
Vectors have 16 values, since ids are what is compared.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import psutil
from bson import ObjectId
from typing_extensions import Self

import fiftyone_redis
from fiftyone_redis import server

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_CHANGES, _DIM, _TOGETHER = 100, 16, 20_000


def main() -> None:
    """Measures all sizes, on a server and a database of its own."""
    sizes = [int(text) for text in sys.argv[1:]] or _SIZES
    with tempfile.TemporaryDirectory() as folder:
        url = server.start(folder).url
        fiftyone_redis.register()
        try:
            print(f"{'samples':>10}  nothing    100 new    100 deleted  memory")
            for count in sizes:
                _measure(url, count)
        finally:
            server.stop(folder)


def _measure(url: str, count: int) -> None:
    dataset = _make_dataset(count)
    index = (
        fob.compute_similarity(
            dataset, embeddings="vector", brain_key="key", backend="redis", url=url
        )
        if count <= _TOGETHER
        else _make_large_index(dataset, url)
    )
    index.sync(progress=False)
    nothing = _time(lambda: index.sync(progress=False))
    _insert(dataset, _CHANGES)
    new = _time(lambda: index.sync(progress=False))
    dataset.delete_samples(dataset.take(_CHANGES, seed=51).values("id"))
    with _MemoryWatch() as memory:
        deleted = _time(lambda: index.sync(progress=False))
    print(f"{count:>10,}  {nothing:>6.3f} s  {new:>6.3f} s  {deleted:>8.3f} s  {memory.grown} MB")
    index.cleanup()
    dataset.delete()


def _make_large_index(dataset: Any, url: str) -> Any:
    index = fob.compute_similarity(
        dataset,
        embeddings=False,
        embeddings_field="vector",
        brain_key="key",
        backend="redis",
        url=url,
    )
    ids = dataset.values("id")
    matrix = np.random.default_rng(51).normal(size=(len(ids), _DIM)).astype(np.float32)
    index.add_to_index(matrix, ids, progress=False)
    return index


def _make_dataset(count: int) -> Any:
    dataset = fo.Dataset(f"sync-{ObjectId()}")
    dataset.add_sample(fo.Sample(filepath="0.jpg", vector=[1.0] * _DIM))
    _insert(dataset, count - 1)
    return dataset


def _insert(dataset: Any, count: int) -> None:
    """Adds samples as FiftyOne stores them, but faster than FiftyOne makes them."""
    collection = dataset._sample_collection
    template = collection.find_one()
    generator = np.random.default_rng()
    for start in range(0, count, _TOGETHER):
        now = datetime.now(timezone.utc)
        collection.insert_many(
            {
                **template,
                "_id": ObjectId(),
                "filepath": f"{now.timestamp()}-{row}.jpg",
                "vector": generator.normal(size=_DIM).tolist(),
                "created_at": now,
                "last_modified_at": now,
            }
            for row in range(min(_TOGETHER, count - start))
        )


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class _MemoryWatch:
    """Measures by how much the memory of this process grows at most."""

    def __enter__(self) -> Self:
        self._process, self._ended = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        """The growth in MB."""
        grown: int = self._most - self._before
        return round(grown / 1e6)

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)


if __name__ == "__main__":
    main()
