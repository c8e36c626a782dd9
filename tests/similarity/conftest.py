"""Datasets to search: a few samples with random embeddings, and a few with labelled patches."""

import uuid
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

DIM = 16


@dataclass
class Samples:
    """A dataset, and its embeddings in the order of its samples."""

    dataset: Any
    embeddings: np.ndarray

    @property
    def ids(self) -> list[str]:
        return self.dataset.values("id")


@dataclass
class Patches:
    """A dataset with detections, and their ids, samples and embeddings in order."""

    dataset: Any
    embeddings: np.ndarray
    sample_ids: list[str]
    label_ids: list[str]


@pytest.fixture
def samples(redis_backend):
    """60 samples, labelled "a", "b" and "c" in turn."""
    dataset = fo.Dataset(f"samples-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(
        fo.Sample(filepath=f"{row}.png", ground_truth=fo.Classification(label="abc"[row % 3]))
        for row in range(60)
    )
    yield Samples(dataset, random_vectors(60))
    dataset.delete()


@pytest.fixture
def patches(redis_backend):
    """20 samples with three detections each, but the last one, which has none."""
    dataset = fo.Dataset(f"patches-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(
        fo.Sample(filepath=f"{row}.png", ground_truth=detections(0 if row == 19 else 3))
        for row in range(20)
    )
    label_ids = dataset.values("ground_truth.detections.id")
    sample_ids = [
        sample_id
        for sample_id, labels in zip(dataset.values("id"), label_ids, strict=True)
        for _ in labels
    ]
    flat = [label_id for labels in label_ids for label_id in labels]
    yield Patches(dataset, random_vectors(len(flat)), sample_ids, flat)
    dataset.delete()


@pytest.fixture
def make_patch_index(patches):
    """Indexes the patches under the brain key "key", with any settings."""

    def make(**settings):
        index = fob.compute_similarity(
            patches.dataset,
            embeddings=False,
            patches_field="ground_truth",
            brain_key="key",
            backend="redis",
            **settings,
        )
        index.add_to_index(patches.embeddings, patches.sample_ids, label_ids=patches.label_ids)
        return index

    return make


@pytest.fixture
def patch_index(make_patch_index):
    """The patches, indexed by cosine distance."""
    return make_patch_index()


def detections(count: int) -> fo.Detections:
    return fo.Detections(
        detections=[
            fo.Detection(label="ab"[box % 2], bounding_box=[0.1 * box, 0.1, 0.1, 0.1])
            for box in range(count)
        ]
    )


def random_vectors(count: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(51).normal(size=(count, dim)).astype(np.float32)
