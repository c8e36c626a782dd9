"""Finding near duplicates, and deleting all but one of each group."""

import fiftyone as fo
import pytest
from operating import form, refusals, run


def test_near_duplicates_are_as_many_as_the_form_says(indexed, files):
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath=files[1])])
    run("add_missing", indexed, {"brain_key": "key"})
    questions = form("find_near_duplicates", indexed, {"brain_key": "key", "threshold": 1e-6})
    said = questions["count"]["view"]["label"]
    params = {"brain_key": "key", "threshold": 1e-6, "tag": "twice"}
    ran = run("find_near_duplicates", indexed, params)
    assert said.startswith("4 of 62 samples have another one within")
    assert sorted(ran.view.values("filepath")) == [files[0], files[0], files[1], files[1]]
    assert ran.view.values("key_group") == [1, 1, 2, 2]
    assert ran.view.values("key_role") == ["keep", "duplicate"] * 2
    assert max(ran.view.values("key_distance")) < 1e-6
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


def test_a_threshold_can_be_typed_and_dragged_in_turns(indexed):
    def shown(params):
        questions = form("find_near_duplicates", indexed, {"brain_key": "key", **params})
        typed = [name for name in questions if name.startswith("threshold")][-1]
        slider = next(name for name in questions if name.startswith("slider"))
        assert questions[typed]["default"] == questions[slider]["default"]
        return typed, slider, questions[slider]["default"], questions["count"]["view"]["label"]

    typed, slider, suggested, _ = shown({})
    params = {typed: 0.05, slider: suggested}  # the page sends what an input began with, too
    typed, slider, value, text = shown(params)
    assert value == 0.05
    assert "within 0.05" in text
    params[slider] = 0.03
    typed, slider, value, _ = shown(params)
    assert value == 0.03
    params[typed] = 0.05
    assert shown(params)[2] == 0.05
    ran = run("find_near_duplicates", indexed, {"brain_key": "key", **params})
    assert f"{len(ran.view)} near duplicates" in ran.text
    assert text.startswith(f"{len(ran.view)} of 60 ")


def test_a_threshold_that_was_deleted_is_asked_for(indexed):
    questions = form("find_near_duplicates", indexed, {"brain_key": "key", "threshold": None})
    assert refusals(questions) == ["Type a threshold."]


@pytest.fixture
def twice(indexed, files):
    """The digits with two of them twice, and their near duplicates found."""
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath=files[1])])
    run("add_missing", indexed, {"brain_key": "key"})
    run("find_near_duplicates", indexed, {"brain_key": "key", "threshold": 1e-6})
    return indexed


def test_all_but_one_of_each_group_are_deleted_after_a_tick(twice, files):
    params = {"brain_key": "key"}
    questions = form("delete_near_duplicates", twice, params)
    assert "Delete 2 samples" in str(questions)
    assert "2 groups" in str(questions)
    assert refusals(questions) == ["Tick this to go on."]
    assert "open the form again" in run("delete_near_duplicates", twice, params).text
    assert len(twice) == 62
    params["sure_key_2"] = True
    assert refusals(form("delete_near_duplicates", twice, params)) == []
    assert "Deleted 2 samples of 2 groups" in run("delete_near_duplicates", twice, params).text
    assert sorted(twice.values("filepath")) == sorted(files)
    assert "Nothing is left" in str(form("delete_near_duplicates", twice, params))


def test_one_of_a_group_stays_though_what_was_to_be_kept_is_gone(twice, files):
    twice.delete_samples(twice.match({"key_role": "keep"}))
    assert "Nothing is left" in str(form("delete_near_duplicates", twice, {"brain_key": "key"}))


def test_near_duplicates_of_patches_are_deleted_among_those_that_are_shown(boxes):
    count = boxes.count("ground_truth.detections")
    params = {"brain_key": "key", "threshold": 0.01}
    view = run("find_near_duplicates", boxes, params).view
    left_out = view.match({"key_role": "duplicate"}).values("id")
    params[f"sure_key_{len(left_out)}"] = True
    ran = run("delete_near_duplicates", boxes, params, view=view._serialize())
    assert f"Deleted {len(left_out)} patches" in ran.text
    assert boxes.count("ground_truth.detections") == count - len(left_out)


def test_a_tile_for_each_group_stands_in_their_order(twice):
    params = {"brain_key": "key", "threshold": 1e-6, "show": "stacked"}
    view = run("find_near_duplicates", twice, params).view
    assert view.values("key_group") == [1, 2]
    assert view.values("key_role") == ["keep", "keep"]
    assert [len(group) for group in view.iter_dynamic_groups()] == [2, 2]
