"""Comparing here: in bounded memory, and the same whatever the size of the blocks."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.engine.search import exact_search


@pytest.fixture
def points():
    return np.random.default_rng(51).normal(size=(300, 6))


@pytest.mark.parametrize("metric", METRICS)
def test_points_within_a_radius_are_the_same_in_blocks_of_any_size(points, monkeypatch, metric):
    radius = float(np.quantile(exact_search.compute_distances(points, points, metric), 0.1))
    whole = [
        rows.tolist() for rows in exact_search.find_within_radius(points, None, radius, metric)
    ]
    kept = exact_search.drop_duplicates(points, radius, metric).tolist()
    monkeypatch.setattr(exact_search, "_BLOCK_VALUES", 1000)
    assert [
        rows.tolist() for rows in exact_search.find_within_radius(points, None, radius, metric)
    ] == whole
    assert exact_search.drop_duplicates(points, radius, metric).tolist() == kept
    assert any(whole)
    assert len(kept) < 300


def test_the_memory_for_distances_does_not_grow_with_the_points(monkeypatch):
    points = np.random.default_rng(51).normal(size=(20_000, 4))
    monkeypatch.setattr(exact_search, "_BLOCK_VALUES", 1 << 18)
    tracemalloc.start()
    list(islice(exact_search.find_within_radius(points, None, 0.001, "euclidean"), 30))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # 1024 rows of distances would be 164 MB
