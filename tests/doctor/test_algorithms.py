"""Whether another algorithm would clearly serve an index better, by its size."""

import numpy as np
import pytest

from fiftyone_redis.doctor import algorithms
from fiftyone_redis.doctor.findings import OK, WARNING
from fiftyone_redis.doctor.redis_server import examine
from fiftyone_redis.engine import Schema, VectorIndex


def field(algorithm: str, dim: int = 512, dtype: str = "FLOAT32") -> dict[str, str]:
    return {"algorithm": algorithm, "dim": str(dim), "data_type": dtype}


def test_a_large_flat_index_is_slower_than_a_graph():
    [finding] = algorithms.advise("birds", field("FLAT"), 1_000_000)
    assert finding.status == WARNING
    assert finding.text.startswith("birds: a search compares all 1,000,000 vectors")
    assert finding.advice == 'index.rebuild(algorithm="HNSW")'


@pytest.mark.parametrize(
    ("attribute", "count"),
    [
        (field("FLAT"), 0),
        (field("FLAT"), 10_000),
        (field("FLAT"), 100_000),
        (field("FLAT", dim=16), 1_000_000),
        (field("HNSW"), 0),
        (field("HNSW"), 100_000),
        (field("HNSW"), 10_000_000),
        (field("SVS-VAMANA"), 1_000_000),
        ({"type": "TAG"}, 1_000_000),
    ],
)
def test_nothing_is_said_where_the_choice_is_fine(attribute, count):
    assert algorithms.advise("birds", attribute, count) == []


def test_values_of_half_the_size_are_searched_twice_as_fast():
    full, half = (
        algorithms.estimate("FLAT", 1_000_000, dtype=dtype) for dtype in ("float32", "float16")
    )
    assert full.search == pytest.approx(2 * half.search)
    assert full.memory == pytest.approx(2 * half.memory)


@pytest.mark.parametrize("algorithm", algorithms.MEASURED)
def test_the_costs_are_those_measured_and_grow_in_between_and_beyond(algorithm):
    for count, cost in algorithms.MEASURED[algorithm].items():
        assert vars(algorithms.estimate(algorithm, count)) == pytest.approx(vars(cost))
    searches = [algorithms.estimate(algorithm, 10**power).search for power in range(3, 9)]
    assert searches == sorted(searches)
    assert len(set(searches)) == len(searches)


def test_a_small_graph_of_a_server_is_told_to_gain_nothing(client):
    index = VectorIndex.create(client, Schema("small", 4, algorithm="HNSW"))
    index.add(["a", "b"], np.eye(2, 4))
    texts = [each for each in examine(client) if "FLAT would be exact" in each.text]
    assert [each.status for each in texts] == [OK]
    assert texts[0].text.startswith("small")
