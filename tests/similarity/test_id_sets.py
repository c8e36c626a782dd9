"""Ids are read from MongoDB without an object for each."""

import fiftyone as fo
import pytest

from fiftyone_redis.similarity import id_sets


@pytest.mark.parametrize("arrays", [1, 3, 256])
@pytest.mark.parametrize("count", [0, 1, 10, 11, 100, 1234])
def test_the_ids_of_all_samples_are_read(count, arrays, monkeypatch):
    monkeypatch.setattr(id_sets, "_ARRAYS", arrays)
    dataset = fo.Dataset()
    ids = dataset.add_samples([fo.Sample(filepath=f"{row}.png") for row in range(count)])
    assert id_sets.to_ids(id_sets.read_sample_ids(dataset)) == sorted(ids)
    dataset.delete()


def test_only_the_ids_are_read_that_further_stages_leave(samples):
    stage = {"$match": {"ground_truth.label": "b"}}
    found = id_sets.to_ids(id_sets.read_sample_ids(samples.dataset, stage))
    assert found == sorted(samples.ids[1::3])
