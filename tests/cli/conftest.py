"""A dataset with an index, and the command line on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from click.testing import CliRunner, Result

from fiftyone_redis.cli.main import main


@pytest.fixture
def run(redis_backend, redis_server, monkeypatch) -> Callable[..., Result]:
    """Runs the command line on the tests' server."""
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_REDIS_URL", redis_server.url)

    def run(*arguments: object, answer: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(each) for each in arguments], input=answer)

    return run


@pytest.fixture
def dataset(redis_backend):
    """Thirty samples with a field of vectors."""
    dataset = fo.Dataset(f"cli-{uuid.uuid4().hex[:8]}")
    dataset.persistent = True
    vectors = np.random.default_rng(51).normal(size=(30, 8))
    dataset.add_samples(
        [fo.Sample(filepath=f"/{row}.jpg", vector=list(v)) for row, v in enumerate(vectors)]
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def name(dataset) -> str:
    """The name of the dataset, whose index "key" has all samples."""
    fob.compute_similarity(dataset, embeddings="vector", brain_key="key", backend="redis")
    return dataset.name
