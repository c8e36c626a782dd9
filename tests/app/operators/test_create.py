"""Creating an index, and adding what it lacks."""

import json

import fiftyone as fo
import numpy as np
from operating import form, refusals, run


def test_an_index_is_created_by_a_model(written, model):
    settings = {"algorithm": "HNSW", "dtype": "float16", "metric": "euclidean", "m": 8}
    ran = run("create_index", written, {"brain_key": "new", "model": model, **settings})
    index = written.load_brain_results("new")
    assert ran.text == "Indexed 60 samples."
    assert index.total_index_size == 60
    assert [getattr(index.config, name) for name in settings] == list(settings.values())


def test_only_what_the_server_has_is_offered(written, server_under_test):
    shown = json.dumps(form("create_index", written))
    assert all(f'"{name}"' in shown for name in ("HNSW", "bfloat16"))
    assert ('"int8"' in shown) == server_under_test.int8
    assert ('"SVS-VAMANA"' in shown) == server_under_test.svs


def test_an_index_is_created_by_a_field(written):
    written.set_values("vector", list(np.eye(60, 8, dtype=np.float32) + 1))
    assert "field" in form("create_index", written)
    params = {"brain_key": "new", "source": "field", "field": "vector"}
    assert run("create_index", written, params).text == "Indexed 60 samples."


def test_an_index_of_patches_is_created(boxes, model):
    params = {"brain_key": "new", "patches_field": "ground_truth", "model": model}
    ran = run("create_index", boxes, params)
    count = boxes.count("ground_truth.detections")
    assert ran.text == f"Indexed {count} patches."


def test_an_index_that_cannot_be_made_leaves_no_run_behind(written):
    ran = run("create_index", written, {"brain_key": "new", "model": "no-such-model"})
    assert "'no-such-model' cannot be loaded" in ran.text
    written.set_values("vector", [None] * 59 + [[1.0, 2.0]])
    written.clear_sample_field("vector")
    ran = run("create_index", written, {"brain_key": "new", "source": "field", "field": "vector"})
    assert "nothing to index" in ran.text
    assert written.list_brain_runs() == []


def test_a_name_that_is_taken_is_refused_in_the_form(indexed):
    assert refusals(form("create_index", indexed)) == []
    [refusal] = refusals(form("create_index", indexed, {"brain_key": "key"}))
    assert "already" in refusal
    [refusal] = refusals(form("create_index", indexed, {"brain_key": "a key"}))
    assert "letters" in refusal


def test_what_is_missing_is_counted_and_added(indexed, files):
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath=files[1])])
    assert "2 samples" in str(form("add_missing", indexed, {"brain_key": "key"}))
    assert run("add_missing", indexed, {"brain_key": "key"}).text == "Indexed 2 samples."
    questions = form("add_missing", indexed, {"brain_key": "key"})
    assert questions["done"]["view"]["name"] == "Success"
    assert refusals(questions) == ["Nothing is missing"]


def test_it_is_a_failure_if_nothing_could_be_indexed(indexed):
    indexed.add_sample(fo.Sample(filepath="no-such-file.png"))
    ran = run("add_missing", indexed, {"brain_key": "key"})
    assert ran.variant == "error"
    assert ran.text.startswith("Nothing was indexed; 1 sample without a vector: ")
    assert indexed.last().id in ran.text


def test_it_is_no_full_success_if_some_could_not_be_indexed(indexed, files):
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath="no-such-file.png")])
    ran = run("add_missing", indexed, {"brain_key": "key"})
    assert ran.variant == "warning"
    assert ran.text.startswith("Indexed 1 sample; 1 sample without a vector: ")


def test_an_index_that_was_dropped_behind_its_back_is_filled_anew(indexed, client):
    index = indexed.load_brain_results("key")
    client.execute_command("FT.DROPINDEX", index.config.index_name, "DD")
    assert "60 samples" in str(form("add_missing", indexed, {"brain_key": "key"}))
    assert run("add_missing", indexed, {"brain_key": "key"}).text == "Indexed 60 samples."
    assert indexed.load_brain_results("key").total_index_size == 60


def test_a_patch_that_is_added_to_a_sample_is_missing(boxes):
    assert "Nothing is missing" in str(form("add_missing", boxes, {"brain_key": "key"}))
    sample = boxes.first()
    sample.ground_truth.detections.append(fo.Detection(label="1", bounding_box=[0, 0, 0.5, 0.5]))
    sample.save()
    assert "1 patch " in str(form("add_missing", boxes, {"brain_key": "key"}))
