"""What a search with a picture writes into a dataset."""

import fiftyone as fo
import pytest

from fiftyone_redis.app import pictures


@pytest.fixture
def scenes(redis_backend):
    """Two groups of a left and a right picture, each with a scored box, and one without."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    box = {"label": "1", "bounding_box": [0, 0, 1, 1]}
    for number in range(3):
        group = fo.Group()
        for side in ("left", "right"):
            sample = fo.Sample(filepath=f"{side}{number}.png", group=group.element(side), score=1.0)
            if number < 2:
                sample["boxes"] = fo.Detections(detections=[fo.Detection(score=2.0, **box)])
            dataset.add_sample(sample)
    dataset.add_dynamic_sample_fields()
    yield dataset
    dataset.delete()


@pytest.mark.parametrize(
    ("patches_field", "path", "count"), [(None, "score", 6), ("boxes", "boxes.detections.score", 4)]
)
def test_a_field_is_cleared_in_all_slices(scenes, patches_field, path, count):
    assert pictures.count_values(scenes, path) == count
    pictures.clear_values(scenes, patches_field, path)
    assert pictures.count_values(scenes, path) == 0
    everything = scenes.select_group_slices(_allow_mixed=True)
    assert everything.count("boxes.detections") == 4
    assert everything.values("boxes").count(None) == 2
