"""Finding near duplicates."""

import fiftyone as fo
from operating import form, run


def test_near_duplicates_are_as_many_as_the_form_says(indexed, files):
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath=files[1])])
    run("add_missing", indexed, {"brain_key": "key"})
    questions = form("find_near_duplicates", indexed, {"brain_key": "key", "threshold": 1e-6})
    said = questions["count"]["view"]["label"]
    params = {"brain_key": "key", "threshold": 1e-6, "tag": "twice"}
    ran = run("find_near_duplicates", indexed, params)
    assert said.startswith("4 of 62 samples have another one within")
    assert ran.view.values("filepath") == [files[0], files[0], files[1], files[1]]
    assert indexed.match_tags("twice").values("filepath") == [files[0], files[1]]


def test_near_duplicates_of_patches_are_patches(boxes):
    params = {"brain_key": "key", "threshold": 0.01, "tag": "twice"}
    said = form("find_near_duplicates", boxes, params)["count"]["view"]["label"]
    ran = run("find_near_duplicates", boxes, params)
    assert said.startswith(f"{len(ran.view)} of ")
    tagged = sum(map(len, boxes.values("ground_truth.detections.tags", unwind=True)))
    assert 0 < boxes.count_label_tags()["twice"] < len(ran.view) <= tagged


def test_nothing_within_the_threshold_is_said(indexed):
    ran = run("find_near_duplicates", indexed, {"brain_key": "key", "threshold": -1.0})
    assert "choose a larger threshold" in ran.text
    assert ran.variant == "info"  # which is no failure
