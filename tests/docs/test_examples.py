"""Runs the programs of examples/, as their users do."""

import subprocess
import sys
from pathlib import Path

import fiftyone.brain as fob
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["float32", "float16", "float64"])
def index(quickstart, redis_backend, request):
    """The dataset with random vectors and two validated samples, stored with their file paths."""
    quickstart.limit(2).tag_samples("validated")
    return fob.compute_similarity(
        quickstart,
        embeddings=np.random.default_rng(51).normal(size=(len(quickstart), 8)),
        backend="redis",
        brain_key="key",
        dtype=request.param,
        attributes=["filepath", "tags"],
    )


def run(*arguments: str) -> list[list[str]]:
    program = [sys.executable, "-W", "error", EXAMPLES / "search_service.py", *arguments]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [line.split() for line in result.stdout.splitlines()]


def test_a_service_finds_file_paths_among_what_it_filters(
    index, quickstart, redis_server, tmp_path
):
    ids, paths = quickstart.values(["id", "filepath"])
    np.save(tmp_path / "query.npy", index.get_embeddings([ids[1]])[0][0])
    options = (index.config.index_name, str(tmp_path / "query.npy"), "--url", redis_server.url)

    everything = run(*options, "-k", "5")
    validated = run(*options, "--filter", "@tags:{validated}")

    assert [path for _, path in everything] == index.sort_by_similarity(ids[1], k=5).values(
        "filepath"
    )
    assert float(everything[0][0]) < 1e-3
    assert [path for _, path in validated] == [paths[1], paths[0]]
