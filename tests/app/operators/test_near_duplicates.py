"""Finding near duplicates, and deleting all but one of each group."""

import threading
import time

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from operating import OPERATORS, context, form, refusals, run

from fiftyone_redis.app import jobs
from fiftyone_redis.app.jobs import Job
from fiftyone_redis.engine.search import planner
from fiftyone_redis.similarity import all_points


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


@pytest.fixture(params=["HNSW", "FLAT"])
def many(request, redis_backend, monkeypatch):
    """3,000 points of which 200 are near duplicates: searched in a graph, or compared in pairs."""
    monkeypatch.setattr(planner, "_PAIR", 1e9)  # walk any graph
    monkeypatch.setattr(all_points, "_LONG_SECONDS", 0.0)
    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=f"{row}.png") for row in range(3000)), progress=False)
    vectors = np.random.default_rng(51).normal(size=(3000, 16))
    vectors[1000:1200] = vectors[:200] + 0.01 * vectors[2000:2200]
    settings = {"brain_key": "key", "backend": "redis", "algorithm": request.param}
    fob.compute_similarity(dataset, embeddings=vectors, **settings)
    yield dataset
    dataset.delete()


WAYS = {"HNSW": "Searching the graph for each", "FLAT": "Comparing all pairs"}
STAGES = {
    "HNSW": ("Sampling", "Searching", "Grouping"),
    "FLAT": ("Reading", "Comparing", "Grouping"),
}


def algorithm_of(dataset) -> str:
    return dataset.load_brain_results("key").config.algorithm


def test_near_duplicates_are_those_of_the_index(many):
    index, captions = many.load_brain_results("key"), []
    many.delete_samples(many.limit(1050).skip(1040))  # whose vectors are left in the index
    index.find_duplicates(thresh=0.01)
    ctx = context(many, {"brain_key": "key", "threshold": 0.01, "tag": "twice"})
    OPERATORS["find_near_duplicates"].work(ctx, lambda _, text: captions.append(text))
    many.reload()
    shown = many.exists("key_group")
    assert set(many.match_tags("twice").values("id")) == set(index.duplicate_ids)
    assert set(shown.values("id")) == {*index.neighbors_map, *index.duplicate_ids}
    groups = dict(zip(*shown.values(["id", "key_group"]), strict=True))
    distances = dict(zip(*shown.values(["id", "key_distance"]), strict=True))
    assert len(set(groups.values())) == len(index.neighbors_map) == 190
    for id, duplicates in index.neighbors_map.items():
        for other, distance in duplicates:
            assert groups[other] == groups[id]
            assert distances[other] == pytest.approx(distance, abs=1e-12)
    said = [text for text in captions if text.startswith(WAYS[algorithm_of(many)])]
    assert len(said) == 1
    assert " 2,990 embeddings in about " in said[0]
    doing = STAGES[algorithm_of(many)][1]
    assert [text for text in captions if text.endswith(f" in all. {doing} 2,990 of 2,990")]


@pytest.mark.parametrize("stage", range(3))
def test_finding_them_ends_soon_after_it_was_cancelled(many, stage):
    job, reached = Job("Find near duplicates", "key", str(many._doc.id), "page"), threading.Event()
    doing = STAGES[algorithm_of(many)][stage]

    def work(report):
        def watch(progress, text):
            if f"{doing} " in text and "embeddings" not in text and not reached.is_set():
                jobs.cancel(job.id)
                reached.set()
            report(progress, text)

        ctx = context(many, {"brain_key": "key", "threshold": 0.01})
        return OPERATORS["find_near_duplicates"].work(ctx, watch)

    jobs.start(job, "Find", work)
    assert reached.wait(20)
    began = time.monotonic()
    assert job.is_over.wait(10)
    assert time.monotonic() - began < 1
    assert job.state == "stopped"
    jobs.forget_ended(job.dataset)
    index = many.load_brain_results("key")
    id = many.first().id
    assert index._kneighbors(query=id, k=1)[0] == [id]
