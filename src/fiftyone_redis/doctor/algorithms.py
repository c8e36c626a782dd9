"""What FLAT and HNSW cost, and whether the other one would clearly serve better.

The costs were measured (docs/benchmarks.md); in between they are interpolated. Machines differ, but
by less than the algorithms do.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from fiftyone_redis.doctor.findings import OK, WARNING, Finding
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.search.planner import describe_time

_SLOW = 0.05  # seconds: a search that people notice, with what is around it
_FAST = 0.002
_MUCH = 5  # times faster

_DIM = 512


@dataclass(frozen=True)
class Cost:
    """What an index costs, with the settings that this package has by default.

    Args:
        build: seconds of one core of the server to add all vectors
        memory: bytes of the server's memory
        search: seconds of one core of the server for a search
    """

    build: float
    memory: float
    search: float


MEASURED: dict[str, dict[int, Cost]] = {
    "FLAT": {
        10_000: Cost(0.17, 52e6, 0.0010),
        100_000: Cost(1.7, 505e6, 0.012),
        1_000_000: Cost(20, 5.03e9, 0.089),
    },
    "HNSW": {
        10_000: Cost(2.4, 63e6, 0.0008),
        100_000: Cost(101, 607e6, 0.0017),
        1_000_000: Cost(1_820, 6.06e9, 0.0023),
    },
}
"""The costs by algorithm and number of vectors, of 512 float32 values each, in processor time."""


RECALL = "0.99"
"""The recall of HNSW with this package's defaults, by the data: clustered data have more."""


def estimate(algorithm: str, count: int, dim: int = _DIM, dtype: str = "float32") -> Cost:
    """Estimates what an index costs; beyond what was measured, the costs go on to grow alike."""
    scale = dim * DTYPES[dtype] / (_DIM * DTYPES["float32"])
    sizes, costs = list(MEASURED[algorithm]), list(MEASURED[algorithm].values())
    last = min(max(bisect(sizes, count), 1), len(sizes) - 1)
    share = log(max(1, count) / sizes[last - 1]) / log(sizes[last] / sizes[last - 1])

    def between(name: str) -> float:
        low, high = (log(getattr(cost, name)) for cost in costs[last - 1 : last + 1])
        return scale * exp(low + share * (high - low))

    return Cost(between("build"), between("memory"), between("search"))


def advise(shown: str, attribute: Mapping[str, Any], count: int) -> list[Finding]:
    """Returns a finding if another algorithm would clearly serve an index better.

    Args:
        shown: the index's name, as users know it
        attribute: its vector field, as FT.INFO describes it
        count: the number of its documents
    """
    algorithm, dtype = attribute.get("algorithm"), str(attribute.get("data_type", "")).lower()
    if algorithm not in MEASURED or dtype not in DTYPES or count <= 0:
        return []
    dim = int(attribute["dim"])
    flat, hnsw = (estimate(each, count, dim, dtype) for each in ("FLAT", "HNSW"))
    if algorithm == "FLAT" and flat.search > max(_SLOW, _MUCH * hnsw.search):
        now, then = describe_time(flat.search), describe_time(hnsw.search)
        text = f"{shown}: a search compares all {count:,} vectors, which takes about {now}. HNSW "
        text += f"would take about {then}, and {describe_time(hnsw.build)} to build; its answers "
        text += "are approximate."
        return [Finding("index", WARNING, text, 'index.rebuild(algorithm="HNSW")')]
    if algorithm == "HNSW" and flat.search <= _FAST:
        text = f"{shown}: FLAT would be exact, and as fast for {count:,} vectors "
        text += '(index.rebuild(algorithm="FLAT")).'
        return [Finding("index", OK, text)]
    return []
