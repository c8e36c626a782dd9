"""What an index lacks, and what its dataset no longer has, is found, added and removed."""

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from grouped_samples import make_grouped_dataset

from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity import sync
from fiftyone_redis.similarity.comparison import difference


@pytest.fixture
def index(samples):
    samples.dataset.set_values("embedding", list(samples.embeddings))
    return fob.compute_similarity(
        samples.dataset, embeddings="embedding", brain_key="key", backend="redis"
    )


def test_an_index_in_step_differs_in_nothing(index):
    assert difference(index) == sync.Difference([], [], [], 60)


def test_samples_without_a_vector_are_missing_and_those_deleted_are_gone(index, samples):
    deleted = samples.ids[:3]
    samples.dataset.delete_samples(deleted)
    added = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    found = difference(index)
    assert found.missing == found.samples == added
    assert sorted(found.gone) == sorted(deleted)


def test_what_is_missing_is_added_from_the_field(index, samples):
    index.remove_from_index(sample_ids=samples.ids[:5])
    counts = []
    left_out = sync.add_missing(index, difference(index), progress=counts.append)
    assert (left_out, sum(counts), index.total_index_size) == ([], 5, 60)
    vectors, _, _ = index.get_embeddings(sample_ids=samples.ids[:5])
    assert np.array_equal(vectors, samples.embeddings[:5])


def test_samples_whose_field_is_empty_are_named(index, samples):
    added = samples.dataset.add_samples([fo.Sample(filepath="new.png")])
    assert sync.add_missing(index, difference(index)) == added
    assert index.total_index_size == 60


def test_what_is_gone_is_removed(index, samples):
    samples.dataset.delete_samples(samples.ids[:3])
    assert sync.remove_gone(index, difference(index)) == 3
    assert index.total_index_size == 57


def test_the_index_of_another_dataset_is_left_alone(index, samples):
    found = sync.Difference(samples.ids, samples.ids, ["other"] * 60, 60)
    with pytest.raises(InputError, match="another dataset"):
        sync.remove_gone(index, found)
    assert index.total_index_size == 60


def test_patches_come_from_a_field_of_their_labels(patch_index, patches):
    index, labels = patch_index, patches.label_ids
    index.remove_from_index(label_ids=labels[:4])
    found = difference(index)
    assert (found.missing, found.samples, found.gone) == (labels[:4], patches.sample_ids[:4], [])
    vectors = dict(zip(labels, patches.embeddings, strict=True))
    patches.dataset.set_label_values("ground_truth.detections.vector", vectors, dynamic=True)
    assert sync.add_missing(index, found, field="vector") == []
    assert difference(index) == sync.Difference([], [], [], 57)


def test_patches_of_deleted_labels_are_gone(patch_index, patches):
    patches.dataset.delete_labels(ids=patches.label_ids[:2], fields="ground_truth")
    found = difference(patch_index)
    assert sorted(found.gone) == sorted(patches.label_ids[:2])
    assert sync.remove_gone(patch_index, found) == 2


def test_an_index_that_a_program_filled_cannot_be_added_to_without_a_field(patch_index, patches):
    patch_index.remove_from_index(label_ids=patches.label_ids[:1])
    with pytest.raises(InputError, match="neither an embeddings field nor a model"):
        sync.add_missing(patch_index, difference(patch_index))


def test_slices_of_groups_are_counted_all(redis_backend):
    dataset = make_grouped_dataset(1, vector=[1.0, 2.0])
    index = fob.compute_similarity(dataset, embeddings=False, brain_key="key", backend="redis")
    found = difference(index)
    assert len(found.missing) == 2
    sync.add_missing(index, found, field="vector")
    assert difference(index).missing == []
    dataset.delete()
