"""Searching with a picture or a region, and what that writes."""

import base64
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from operating import form, refusals, run


def test_a_search_shows_distances_in_a_field_of_its_own(indexed, files):
    indexed.set_values("distance", [1.5] * 60)
    assert form("search_with_picture", indexed)["dist_field"]["default"] is None
    params = {"brain_key": "key", "source": "path", "path": files[7], "k": 5}
    ran = run("search_with_picture", indexed, params)
    assert "5 samples nearest to it are shown" in ran.text
    assert "key_distance" in ran.text
    assert ran.messages["set_active_fields"] == {"fields": ["key_distance"]}
    shown = ran.view.values("key_distance")
    assert (len(shown), shown[0]) == (5, pytest.approx(0, abs=1e-6))
    assert shown == sorted(shown)
    assert indexed.values("distance") == [1.5] * 60


def test_the_next_search_replaces_the_distances_of_the_last_one(indexed, files):
    for row in (7, 8):
        params = {"brain_key": "key", "source": "path", "path": files[row], "k": 5}
        ran = run("search_with_picture", indexed, params)
    assert indexed.count("key_distance") == 5
    assert None not in ran.view.values("key_distance")


def test_a_users_field_of_the_same_name_is_left_alone(indexed, files):
    indexed.set_values("key_distance", [1.5] * 60)
    params = {"brain_key": "key", "source": "path", "path": files[7], "k": 5}
    ran = run("search_with_picture", indexed, params)
    assert ran.messages["set_active_fields"] == {"fields": ["key_distance_2"]}
    assert indexed.values("key_distance") == [1.5] * 60


def test_a_search_for_patches_shows_distances_and_writes_nothing(boxes):
    sample = boxes.first()
    schema = set(boxes.get_field_schema(flat=True))
    region = sample.ground_truth.detections[0].id
    params = {"brain_key": "key", "source": "region", "region": region, "k": 4}
    ran = run("search_with_picture", boxes, params, current_sample=sample.id)
    assert ran.messages["set_active_fields"] == {"fields": ["key_distance"]}
    shown = ran.view.values("key_distance")
    assert (len(shown), shown[0]) == (4, pytest.approx(0, abs=1e-6))
    assert shown == sorted(shown)
    assert set(boxes.get_field_schema(flat=True)) == schema


def test_a_distance_field_with_values_is_named_and_cleared_after_a_tick(indexed, files):
    indexed.set_values("score", [1.5] * 30 + [None] * 30)
    params = {"brain_key": "key", "source": "path", "path": files[7], "k": 5, "dist_field": "score"}
    questions = form("search_with_picture", indexed, params)
    assert "field score" in str(questions["replace_score"])
    assert "all of its 30 values" in str(questions["replace_score"])
    assert refusals(questions) == ["Tick this to go on."]
    assert "holds 30 values already" in run("search_with_picture", indexed, params).text
    assert indexed.count("score") == 30
    params["replace_score"] = True
    assert refusals(form("search_with_picture", indexed, params)) == []
    run("search_with_picture", indexed, params)
    assert indexed.count("score") == 5
    assert indexed.bounds("score")[1] < 1.5


def test_a_distance_field_of_labels_is_named_and_cleared_too(boxes):
    label = boxes.first().ground_truth.detections[0]
    boxes.add_sample(fo.Sample(filepath="no-labels.png"))
    path = "ground_truth.detections.score"
    labels = boxes.values("ground_truth.detections.id", unwind=True)
    boxes.set_label_values(path, {id: 9.0 for id in labels if id}, dynamic=True)
    params = {"brain_key": "key", "source": "region", "region": label.id, "dist_field": "score"}
    more = {"current_sample": boxes.first().id}
    params |= {"k": 4, "replace_score": True}
    assert path in str(form("search_with_picture", boxes, params, **more)["replace_score"])
    run("search_with_picture", boxes, params, **more)
    assert boxes.count(path) == 4
    assert boxes.bounds(path)[1] < 9.0
    assert boxes.last().ground_truth is None


def test_a_search_that_fails_clears_nothing(indexed, files, client):
    index = indexed.load_brain_results("key")
    indexed.set_values("score", [1.5] * 60)
    client.execute_command("FT.DROPINDEX", index.config.index_name)
    params = {"brain_key": "key", "source": "path", "path": files[7], "dist_field": "score"}
    run("search_with_picture", indexed, params | {"replace_score": True})
    assert indexed.values("score") == [1.5] * 60


def test_a_field_of_other_values_is_refused_in_the_form(indexed):
    params = {"source": "path", "path": "a.png", "dist_field": "filepath"}
    [refusal] = refusals(form("search_with_picture", indexed, params))
    assert "'filepath' holds other values" in refusal


def test_a_picture_finds_what_looks_like_it_and_how_far_that_is(indexed, files):
    params = {"brain_key": "key", "source": "path", "path": files[7], "k": 5}
    params["dist_field"] = "distance"
    ran = run("search_with_picture", indexed, params)
    distances = ran.view.values("distance")
    assert ran.view.values("filepath")[0] == files[7]
    assert (len(distances), distances[0]) == (5, pytest.approx(0, abs=1e-6))
    assert distances == sorted(distances)
    assert ran.messages["set_active_fields"] == {"fields": ["distance"]}


def test_a_picture_can_be_uploaded(indexed, files):
    content = base64.b64encode(Path(files[3]).read_bytes()).decode()
    upload = {"name": "mine.png", "content": content}
    params = {"brain_key": "key", "source": "upload", "picture": upload, "k": 1}
    assert run("search_with_picture", indexed, params).view.values("filepath") == [files[3]]


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 10_000 + ".png", "/etc/../x.PNG", "C:\\x.png"])
def test_an_upload_may_have_any_name(indexed, files, name):
    content = base64.b64encode(Path(files[3]).read_bytes()).decode()
    upload = {"name": name, "content": content}
    params = {"brain_key": "key", "source": "upload", "picture": upload, "k": 1}
    assert run("search_with_picture", indexed, params).view.values("filepath") == [files[3]]


@pytest.mark.parametrize(
    ("upload", "reason"),
    [
        ({"name": "a\0b", "content": "AAAA"}, "is not a picture that FiftyOne knows"),
        ({"name": "..", "content": "AAAA"}, "is not a picture that FiftyOne knows"),
        ({"name": "a." + "x" * 10_000, "content": "AAAA"}, "is not a picture that FiftyOne knows"),
        ({"name": "x" * 10_000 + ".png", "content": "AAAA"}, "cannot be read as a picture"),
        ({"name": ["a.png"], "content": "é"}, "is empty"),
        ({"name": "a.png", "content": 5}, "is empty"),
        ({"name": "a.png"}, "is empty"),
        ("a.png", "is empty"),
        (None, "is empty"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused(indexed, upload, reason):
    params = {"brain_key": "key", "source": "upload", "picture": upload}
    text = run("search_with_picture", indexed, params).text
    assert reason in text
    assert len(text) < 200


@pytest.mark.parametrize(
    "path", ["a\0b.png", "x" * 10_000, "~nobody-of-that-name/x.png", "\ud800", ""]
)
def test_a_path_that_leads_nowhere_is_refused(indexed, path):
    params = {"brain_key": "key", "source": "path", "path": path}
    text = run("search_with_picture", indexed, params).text
    assert text.startswith("There is no file")
    assert len(text) < 200


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture_is_refused(indexed, content, tmp_path):
    file = tmp_path / "broken.png"
    file.write_bytes(content)
    params = {"brain_key": "key", "source": "path", "path": str(file)}
    assert "cannot be read as a picture" in run("search_with_picture", indexed, params).text


def test_a_search_can_stay_in_the_view(indexed, files):
    few = indexed.limit(4)
    params = {"brain_key": "key", "source": "path", "path": files[7], "within": True}
    ran = run("search_with_picture", indexed, params, view=few._serialize())
    assert sorted(ran.view.values("id")) == sorted(few.values("id"))


@pytest.mark.parametrize(
    "only", [lambda patches: patches.limit(4), lambda patches: patches.match_labels(tags="mine")]
)
def test_a_search_can_stay_in_a_view_of_patches(boxes, only):
    labels = boxes.values("ground_truth.detections.id", unwind=True)
    boxes.select_labels(ids=labels[1:9:2]).tag_labels("mine")
    few = only(boxes.to_patches("ground_truth"))
    params = {"brain_key": "key", "source": "region", "region": labels[3], "within": True}
    params["dist_field"] = "distance"
    ran = run("search_with_picture", boxes, params, view=few._serialize(), current_sample=labels[3])
    assert len(few) == 4
    assert sorted(ran.view.values("id")) == sorted(few.values("id"))
    assert boxes.count("ground_truth.detections.distance") == 4


def test_in_a_view_of_patches_whole_samples_are_found_among_those_it_shows(boxes, model, files):
    fob.compute_similarity(boxes, model=model, brain_key="whole", backend="redis")
    sample = boxes.last()
    few = boxes.select(sample.id).to_patches("ground_truth")
    params = {"brain_key": "whole", "source": "path", "path": files[7], "within": True}
    ran = run("search_with_picture", boxes, params, view=few._serialize())
    assert ran.view.values("id") == [sample.id]


def test_in_a_view_of_other_patches_those_of_the_same_samples_are_found(boxes, files):
    sample = boxes.last()
    box = fo.Detection(label="1", bounding_box=[0, 0, 0.5, 0.5])
    sample["others"] = fo.Detections(detections=[box])
    sample.save()
    params = {"brain_key": "key", "source": "path", "path": files[7], "within": True}
    view = boxes.to_patches("others")
    ran = run("search_with_picture", boxes, params, view=view._serialize())
    expected = [label.id for label in sample.ground_truth.detections]
    assert sorted(ran.view.values("id")) == sorted(expected)


@pytest.fixture
def pairs(redis_backend, model, files):
    """Groups of a left and a right digit, whose samples are indexed."""
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for row in range(0, 12, 2):
        group = fo.Group()
        for side, file in (("left", files[row]), ("right", files[row + 1])):
            dataset.add_sample(fo.Sample(filepath=file, group=group.element(side)))
    everything = dataset.select_group_slices(_allow_mixed=True)
    fob.compute_similarity(everything, model=model, brain_key="key", backend="redis")
    yield dataset
    dataset.delete()


def test_a_search_can_stay_in_the_slice_that_is_shown(pairs, files):
    params = {"brain_key": "key", "source": "path", "path": files[0], "within": True}
    view = pairs.match({"filepath": {"$in": files[:6]}})
    ran = run("search_with_picture", pairs, params, view=view._serialize(), group_slice="right")
    assert sorted(ran.view.values("filepath")) == sorted([files[1], files[3], files[5]])


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_region_finds_what_looks_like_it(boxes, is_indexed):
    sample = boxes.first()
    label = sample.ground_truth.detections[0]
    index = boxes.load_brain_results("key")
    expected = set(
        index.sort_by_similarity(label.id, k=4).values("ground_truth.detections.id", unwind=True)
    )
    if not is_indexed:
        index.remove_from_index(label_ids=[label.id])
        expected -= {label.id}
    params = {"brain_key": "key", "source": "region", "region": label.id, "k": len(expected)}
    params["dist_field"] = "distance"
    ran = run("search_with_picture", boxes, params, current_sample=sample.id)
    assert set(ran.view.values("id")) == expected
    distances = ran.view.values("ground_truth.distance")
    assert distances == sorted(distances)


def test_the_region_that_is_selected_is_offered_first(boxes):
    sample = boxes.first()
    label = sample.ground_truth.detections[-1]
    selected = [{"label_id": label.id, "sample_id": sample.id, "field": "ground_truth"}]
    questions = form("search_with_picture", boxes, selected_labels=selected)
    assert questions["region"]["type"]["values"][0] == label.id


def test_an_index_without_a_model_cannot_take_a_picture(written):
    fob.compute_similarity(written, embeddings=np.ones((60, 4)), brain_key="key", backend="redis")
    [refusal] = refusals(form("search_with_picture", written))
    assert "model's name" in refusal
