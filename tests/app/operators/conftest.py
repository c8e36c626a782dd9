"""Datasets for the tests of the operators."""

import uuid

import fiftyone as fo
import fiftyone.brain as fob
import pytest
from PIL import Image

from fiftyone_redis.demo import datasets, images
from fiftyone_redis.demo.model import register_model


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[str]:
    """The pictures of 60 handwritten digits."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, _ = images.digits()
    for row in range(60):
        Image.fromarray(images.draw(pixels[row])).save(folder / f"{row}.png")
    return [str(folder / f"{row}.png") for row in range(60)]


@pytest.fixture
def model() -> str:
    return register_model()


@pytest.fixture
def written(files, redis_backend, model):
    """60 samples of handwritten digits."""
    dataset = fo.Dataset(f"written-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(fo.Sample(filepath=file) for file in files)
    yield dataset
    dataset.delete()


@pytest.fixture
def indexed(written, model):
    """The digits, indexed by the model under the brain key "key"."""
    fob.compute_similarity(written, model=model, brain_key="key", backend="redis")
    return written


@pytest.fixture
def boxes(redis_backend, model, tmp_path, monkeypatch):
    """Six scenes of digits in boxes, which are indexed by the model under the brain key "key"."""
    monkeypatch.setattr(datasets, "SCENES", f"boxes-{uuid.uuid4().hex[:8]}")
    dataset = datasets.scenes(tmp_path, count=6)
    fob.compute_similarity(
        dataset, patches_field="ground_truth", model=model, brain_key="key", backend="redis"
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def clone(indexed):
    """A clone of the digits, whose run uses the same index."""
    clone = indexed.clone()
    yield clone
    clone.delete()
