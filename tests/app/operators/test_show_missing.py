"""Showing what an index lacks."""

import fiftyone as fo
from operating import run


def test_what_is_missing_is_shown(indexed, files):
    assert "Nothing is missing" in run("show_missing", indexed, {"brain_key": "key"}).text
    new = indexed.add_samples([fo.Sample(filepath=file) for file in files[:3]])
    ran = run("show_missing", indexed, {"brain_key": "key"})
    assert ran.text == "3 samples without a vector."
    assert ran.view.values("id") == new


def test_patches_that_are_missing_are_shown(boxes):
    labels = [box.id for box in boxes.first().ground_truth.detections]
    boxes.load_brain_results("key").remove_from_index(label_ids=labels)
    ran = run("show_missing", boxes, {"brain_key": "key"})
    assert sorted(ran.view.values("id")) == sorted(labels)
