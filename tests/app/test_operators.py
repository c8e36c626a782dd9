"""The plugin's operators: their forms, what they do, what they say when it cannot be done."""

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.core.view as fov
import fiftyone.operators as foo
import fiftyone.operators.delegated as food
import numpy as np
import pytest
from fiftyone.operators import types
from fiftyone.operators.executor import ExecutionContext, Executor
from PIL import Image

from fiftyone_redis.app import changes, install, plugin, visualization
from fiftyone_redis.demo import datasets, images
from fiftyone_redis.demo.model import register_model
from fiftyone_redis.engine.options import ALGORITHMS, DTYPES, OPTIONS

OPERATORS = {operator.name: operator for kind in plugin.OPERATORS for operator in [kind()]}


@dataclass
class Ran:
    """What an operator told the App."""

    dataset: Any
    messages: dict[str, dict]

    @property
    def text(self) -> str:
        """What the person reads at the end: a line for a while, or what is to be closed."""
        if "notify" in self.messages:
            return self.messages["notify"]["message"]
        [shown] = self.messages["show_output"]["outputs"]["type"]["properties"].values()
        return shown["view"].get("description") or shown["view"]["label"]

    @property
    def view(self) -> Any:
        return fov.DatasetView._build(self.dataset, self.messages["set_view"]["view"])


def context(dataset, params, **more) -> ExecutionContext:
    request = {"dataset_name": dataset.name, "params": params, **more}
    return ExecutionContext(request, executor=Executor())


def run(name: str, dataset, params: dict, **more) -> Ran:
    messages = OPERATORS[name].execute(context(dataset, params, **more))
    told = {one.body.operator_uri.split("/")[-1]: one.body.params for one in messages}
    dataset.reload()
    return Ran(dataset, told)


def form(name: str, dataset, params: dict | None = None, **more) -> dict[str, dict]:
    """Returns the questions of an operator's form, by their names."""
    inputs = OPERATORS[name].resolve_input(context(dataset, params or {}, **more)).to_json()
    return inputs["type"]["properties"]


def refusals(questions: dict[str, dict]) -> list[str]:
    return [one["error_message"] for one in questions.values() if one["invalid"]]


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[str]:
    """The pictures of 60 handwritten digits."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, _ = images.digits()
    for row in range(60):
        Image.fromarray(images.draw(pixels[row])).save(folder / f"{row}.png")
    return [str(folder / f"{row}.png") for row in range(60)]


@pytest.fixture
def model() -> str:
    return register_model()


@pytest.fixture
def written(files, redis_backend, model):
    """60 samples of handwritten digits."""
    dataset = fo.Dataset(f"written-{uuid.uuid4().hex[:8]}")
    dataset.add_samples(fo.Sample(filepath=file) for file in files)
    yield dataset
    dataset.delete()


@pytest.fixture
def indexed(written, model):
    """The digits, indexed by the model under the brain key "key"."""
    fob.compute_similarity(written, model=model, brain_key="key", backend="redis")
    return written


@pytest.fixture
def boxes(redis_backend, model, tmp_path, monkeypatch):
    """Six scenes of digits in boxes, which are indexed by the model under the brain key "key"."""
    monkeypatch.setattr(datasets, "SCENES", f"boxes-{uuid.uuid4().hex[:8]}")
    dataset = datasets.scenes(tmp_path, count=6)
    fob.compute_similarity(
        dataset, patches_field="ground_truth", model=model, brain_key="key", backend="redis"
    )
    yield dataset
    dataset.delete()


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
    [shown] = ran.messages["show_output"]["outputs"]["type"]["properties"].values()
    assert (shown["view"]["name"], shown["view"]["label"]) == ("Error", "Index failed")
    assert ran.text.startswith("Nothing was indexed; 1 sample without a vector: ")
    assert indexed.last().id in ran.text


def test_it_is_no_full_success_if_some_could_not_be_indexed(indexed, files):
    indexed.add_samples([fo.Sample(filepath=files[0]), fo.Sample(filepath="no-such-file.png")])
    ran = run("add_missing", indexed, {"brain_key": "key"})
    assert ran.messages["notify"]["variant"] == "warning"
    assert ran.text.startswith("Indexed 1 sample; 1 sample without a vector: ")


@pytest.mark.parametrize(
    ("name", "params", "filled_in"),
    [
        ("rename_index", {}, {"new_key": "other"}),
        ("search_with_picture", {"source": "path"}, {"path": "a.png"}),
        ("search_with_picture", {"source": "upload"}, {"picture": {"name": "a.png"}}),
    ],
)
def test_nothing_is_red_before_anybody_has_typed(indexed, name, params, filled_in):
    questions = form(name, indexed, params)
    [input_name] = filled_in
    assert not questions[input_name]["required"]
    assert not questions[input_name]["invalid"]
    assert questions["blocked"]["view"]["name"] == "HiddenView"
    assert refusals(questions) != []  # so that the button cannot be pressed
    assert refusals(form(name, indexed, params | filled_in)) == []


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


def test_what_is_gone_is_removed_after_a_tick(indexed):
    indexed.delete_samples(indexed.take(3, seed=51))
    assert refusals(form("remove_gone", indexed, {"brain_key": "key"})) == ["Tick this to go on."]
    assert refusals(form("remove_gone", indexed, {"brain_key": "key", "sure_key": True})) == []
    assert run("remove_gone", indexed, {"brain_key": "key"}).text == "Removed 3 vectors."


@pytest.fixture
def clone(indexed):
    """A clone of the digits, whose run uses the same index."""
    clone = indexed.clone()
    yield clone
    clone.delete()


def test_dropping_an_index_that_others_use_forgets_it_here_alone(indexed, clone):
    questions = form("drop_index", clone, {"brain_key": "key"})
    assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])
    assert "Forget key here" in str(questions["forget_key"])
    assert refusals(questions) == ["Tick this to go on."]
    ran = run("drop_index", clone, {"brain_key": "key", "forget_key": True})
    assert ran.text == "Dropped 'key'; its vectors are still on the server."
    assert clone.list_brain_runs() == []
    assert indexed.load_brain_results("key").total_index_size == 60


def test_an_index_that_was_to_be_forgotten_alone_keeps_its_vectors(
    indexed, client, redis_backend, free_port
):
    url, redis_backend["url"] = redis_backend["url"], f"redis://127.0.0.1:{free_port}"
    indexed.clear_cache()
    params = {"brain_key": "key", "forget_key": True}
    assert "Forget key" in str(form("drop_index", indexed, params)["forget_key"])
    redis_backend["url"] = url  # the server comes back before the button is pressed
    ran = run("drop_index", indexed, params)
    assert ran.text == "Dropped 'key'; its vectors are still on the server."
    assert client.dbsize() == 60
    assert indexed.list_brain_runs() == []


def test_dropping_an_index_for_others_too_wants_a_second_tick(indexed, clone):
    params = {"brain_key": "key", "others_key": True}
    questions = form("drop_index", clone, params)
    assert "Delete key and its 60 vectors" in str(questions["sure_key"])
    assert refusals(questions) == ["Tick this to go on."]
    assert run("drop_index", clone, {**params, "sure_key": True}).text == "Dropped 'key'."
    indexed.clear_cache()
    assert indexed.load_brain_results("key").total_index_size == 0


def test_rebuilding_an_index_that_others_use_wants_a_tick(indexed, clone):
    params = {"brain_key": "key", "algorithm": "HNSW"}
    questions = form("rebuild_index", clone, params)
    assert indexed.name in str(questions["others_note"])
    assert refusals(questions) == ["Tick this to go on."]
    assert "is also used by" in run("rebuild_index", clone, params).text
    params["others_key"] = True
    assert refusals(form("rebuild_index", clone, params)) == []
    assert run("rebuild_index", clone, params).text == "The index 'key' is HNSW now."


def test_removing_from_an_index_that_others_use_wants_a_second_tick(indexed, clone):
    lost = indexed.take(3, seed=51).values("id")
    indexed.delete_samples(lost)
    clone.delete_samples(lost)
    params = {"brain_key": "key", "sure_key": True}
    questions = form("remove_gone", clone, params)
    assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])
    assert refusals(questions) == ["Tick this to go on."]
    assert "is also used by" in run("remove_gone", clone, params).text
    params["others_key"] = True
    assert refusals(form("remove_gone", clone, params)) == []
    assert run("remove_gone", clone, params).text == "Removed 3 vectors."


def test_a_run_that_uses_the_index_by_another_name_is_named_too(indexed, clone):
    index = indexed.load_brain_results("key")
    index.config.index_name = index.open_index().schema.server_name
    index.save_config()
    for name in ("drop_index", "rebuild_index"):
        questions = form(name, clone, {"brain_key": "key"})
        assert f"'key' of the dataset '{indexed.name}'" in str(questions["others_note"])


def test_what_a_clone_lacks_but_the_original_has_is_not_gone(indexed, clone):
    clone.delete_samples(clone.take(3, seed=51))
    assert "Nothing is stale" in str(form("remove_gone", clone, {"brain_key": "key"}))


def test_an_index_is_rebuilt(indexed):
    params = {"brain_key": "key", "algorithm": "HNSW", "dtype": "float16", "metric": "cosine"}
    assert refusals(form("rebuild_index", indexed, params)) == ["Tick this to go on."]
    assert run("rebuild_index", indexed, params).text == "The index 'key' is HNSW now."
    assert indexed.load_brain_results("key").config.dtype == "float16"


def test_the_form_for_a_rebuild_begins_with_what_the_run_has(written, model):
    settings = {"algorithm": "HNSW", "m": 8, "ef_construction": 60, "ef_runtime": 50}
    fob.compute_similarity(written, model=model, brain_key="key", backend="redis", **settings)
    written.clear_cache()
    questions = form("rebuild_index", written, {"brain_key": "key"})
    assert {name: questions[name]["default"] for name in settings} == settings


def test_the_form_for_a_rebuild_asks_for_what_the_algorithm_has(indexed, monkeypatch):
    monkeypatch.setattr(changes, "fetch_capabilities", lambda: (ALGORITHMS, tuple(DTYPES)))
    for algorithm in ALGORITHMS:
        params = {"brain_key": "key", "algorithm": algorithm}
        asked = form("rebuild_index", indexed, params).keys() & OPTIONS.keys()
        assert asked == {name for name, option in OPTIONS.items() if option.is_of(algorithm)}


def test_what_the_form_asks_for_reaches_the_rebuild(indexed):
    params = {"brain_key": "key", "algorithm": "HNSW", "ef_runtime": 70, "block_size": 5}
    run("rebuild_index", indexed, params)
    config = indexed.load_brain_results("key").config
    assert (config.ef_runtime, config.block_size) == (70, 1023)


def test_a_tick_holds_for_the_index_that_it_was_given_for(indexed, model):
    fob.compute_similarity(indexed, model=model, brain_key="other", backend="redis")
    params = {"brain_key": "key", "sure_key": True}
    assert refusals(form("drop_index", indexed, params)) == []
    params["brain_key"] = "other"  # chosen in the same form, after the tick
    assert refusals(form("drop_index", indexed, params)) == ["Tick this to go on."]


def test_a_tick_holds_for_the_type_that_it_was_given_for(indexed):
    params = {"brain_key": "key", "dtype": "float16", "sure_key_float16": True}
    assert refusals(form("rebuild_index", indexed, params)) == []
    params["dtype"] = "bfloat16"
    assert refusals(form("rebuild_index", indexed, params)) == ["Tick this to go on."]


def test_an_index_is_renamed(indexed):
    run("rename_index", indexed, {"brain_key": "key", "new_key": "other"})
    assert indexed.list_brain_runs() == ["other"]
    assert indexed.load_brain_results("other").total_index_size == 60


def test_an_index_is_dropped_after_a_tick(indexed, client):
    assert refusals(form("drop_index", indexed, {"brain_key": "key"})) == ["Tick this to go on."]
    assert "60 vectors" in str(form("drop_index", indexed, {"brain_key": "key"}))
    run("drop_index", indexed, {"brain_key": "key", "sure_key": True})
    assert indexed.list_brain_runs() == []
    assert client.dbsize() == 0


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


@pytest.mark.parametrize("dataset", ["indexed", "boxes"])
def test_a_visualization_has_a_point_for_each_vector(dataset, request):
    samples = request.getfixturevalue(dataset)
    index = samples.load_brain_results("key")
    ran = run("compute_visualization", samples, {"brain_key": "key", "method": "pca"})
    results = samples.load_brain_results("key_pca")
    vectors, sample_ids, label_ids = index.get_embeddings()
    ids = sample_ids if label_ids is None else label_ids
    points = dict(
        zip(
            results.label_ids if label_ids is not None else results.sample_ids,
            results.points,
            strict=True,
        )
    )
    assert ran.text.startswith(f"Computed key_pca of {len(ids):,} vectors")
    assert points.keys() == set(ids)
    centred = vectors - vectors.mean(axis=0)
    main = np.linalg.svd(centred, full_matrices=False)[2][:2]
    expected = np.abs(centred @ main.T)
    assert np.abs([points[id] for id in ids]) == pytest.approx(expected, abs=1e-3)
    assert results.config.similarity_index == "key"
    assert "open_panel" in ran.messages


def test_the_form_says_when_umap_is_missing(indexed, monkeypatch):
    monkeypatch.setattr(visualization, "find_spec", lambda _: None)
    questions = form("compute_visualization", indexed, {"brain_key": "key"})
    assert "pip install umap-learn" in str(questions["umap_note"])
    assert questions["method"]["type"]["values"] == ["pca"]
    monkeypatch.setattr(visualization, "find_spec", lambda _: "found")
    questions = form("compute_visualization", indexed, {"brain_key": "key"})
    assert questions["method"]["type"]["values"] == ["umap", "pca"]


def test_a_mistyped_model_is_said_in_the_form(written, model):
    [refusal] = refusals(form("create_index", written, {"model": "clip-vit-base32-troch"}))
    assert "no model 'clip-vit-base32-troch'; did you mean clip-vit-base32-torch" in refusal
    assert refusals(form("create_index", written, {"model": model})) == []


def test_models_say_whether_they_take_text_prompts(written, model):
    questions = form("create_index", written, {"model": model})
    assert "takes text prompts" in str(questions["prompts_note"])
    choices = {one["value"]: one for one in questions["model"]["view"]["choices"]}
    assert choices[model]["description"] == "takes text prompts"
    assert choices["resnet50-imagenet-torch"].get("description") is None


def test_an_index_stores_the_fields_that_were_chosen(written, model):
    written.set_values("quality", list(range(60)))
    questions = form("create_index", written)
    offered = [one["value"] for one in questions["stored_fields"]["view"]["choices"]]
    assert {"filepath", "tags", "quality"} <= set(offered)
    assert "metadata" not in offered
    params = {"brain_key": "new", "model": model, "stored_fields": ["quality", "tags"]}
    run("create_index", written, params)
    config = written.load_brain_results("new").config
    assert dict(config.stored_fields) == {"quality": "NUMERIC", "tags": "TAG"}


def test_an_index_can_be_made_of_the_view_or_of_what_is_selected(written, model):
    assert "target" not in form("create_index", written)
    some = written.limit(4)
    view, selected = some._serialize(), some.values("id")[:2]
    questions = form("create_index", written, view=view, selected=selected)
    assert questions["target"]["type"]["values"] == ["dataset", "view", "selected"]
    for target, ids in (("view", some.values("id")), ("selected", selected)):
        params = {"brain_key": target, "model": model, "target": target, "batch_size": 2}
        ran = run("create_index", written, params, view=view, selected=selected)
        assert ran.text == f"Indexed {len(ids)} samples."
        index = written.load_brain_results(target)
        assert sorted(index.sample_ids) == sorted(ids)


@pytest.mark.parametrize("backend", ["sklearn", "redis"])
@pytest.mark.parametrize("dataset", ["written", "boxes"])
def test_an_index_is_made_of_the_vectors_of_another_run(dataset, backend, request, model):
    samples = request.getfixturevalue(dataset)
    field = "ground_truth" if dataset == "boxes" else None
    other = fob.compute_similarity(
        samples, model=model, patches_field=field, brain_key="other", backend=backend
    )
    asked = {"source": "run", "patches_field": field or "-"}
    assert f"other ({backend})" in str(form("create_index", samples, asked)["run"])
    params = {"brain_key": "new", "run": "other", "metric": "cosine", **asked}
    ran = run("create_index", samples, params)
    index = samples.load_brain_results("new")
    assert ran.text.startswith(f"Indexed {other.total_index_size} ")
    vectors, sample_ids, label_ids = other.get_embeddings()
    found = index.get_embeddings(sample_ids if label_ids is None else None, label_ids)
    assert found[0] == pytest.approx(np.asarray(vectors))
    assert (index.config.model, index.config.supports_prompts) == (model, True)
    assert len(index.sort_by_similarity("seven", k=3)) > 0


def test_a_run_that_has_nothing_of_the_view_makes_no_index(written):
    vectors = np.ones((30, 4))
    fob.compute_similarity(
        written.limit(30), embeddings=vectors, brain_key="other", backend="sklearn"
    )
    params = {"brain_key": "new", "source": "run", "run": "other", "target": "view"}
    ran = run("create_index", written, params, view=written.skip(30)._serialize())
    assert "no vector of these samples" in ran.text
    assert written.list_brain_runs() == ["other"]


# These can be filled without a server.
_WITHOUT_A_SERVER = (
    "create_index",
    "rename_index",
    "search_with_picture",
    "show_missing",
    "compute_visualization",
)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_form_without_a_server_says_what_to_do(name, indexed, redis_backend, free_port):
    indexed.clear_cache()
    redis_backend["url"] = f"redis://127.0.0.1:{free_port}"
    questions = form(name, indexed)
    if name == "delete_near_duplicates":
        assert "find them first" in str(refusals(questions))
    elif name in _WITHOUT_A_SERVER:
        assert all("is needed" in refusal for refusal in refusals(questions))
    elif name == "drop_index":
        assert "the server does not answer" in str(questions)
    else:
        assert "No Redis answers" in str(refusals(questions))


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"create_index"}))
def test_a_form_without_an_index_says_what_to_do(name, written):
    [refusal] = refusals(form(name, written))
    assert "Create" in refusal


@pytest.mark.skipif(not hasattr(types, "RiskLevel"), reason="This FiftyOne has no risk levels.")
def test_operators_declare_what_they_can_do():
    risks = {name: operator.config.to_json()["risk_level"] for name, operator in OPERATORS.items()}
    expected = dict.fromkeys(OPERATORS, "medium") | {"show_missing": "low"}
    deletes = ("remove_gone", "rebuild_index", "drop_index", "delete_near_duplicates")
    assert risks == expected | dict.fromkeys(deletes, "high")


def test_an_operation_can_be_delegated(indexed, files, monkeypatch, tmp_path):
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path))
    install.install(tmp_path)
    indexed.persistent = True
    indexed.add_samples([fo.Sample(filepath=files[0])])
    good = delegated("add_missing", indexed, {"brain_key": "key"})
    assert (good.run_state, good.status.progress) == ("completed", 1)
    assert indexed.load_brain_results("key").total_index_size == 61
    indexed.add_sample(fo.Sample(filepath="no-such-file.png"))
    bad = delegated("add_missing", indexed, {"brain_key": "key"})
    assert bad.run_state == "failed"
    assert "Nothing was indexed" in bad.result.error


def delegated(name: str, dataset, params: dict) -> Any:
    """Queues an operation, executes it as FiftyOne's service does, and returns its record."""
    service = food.DelegatedOperationService()
    context = {"dataset": dataset, "params": params}
    uri = f"{install.NAME}/{name}"

    def queue_and_execute():
        queued = foo.execute_operator(uri, ctx={**context, "request_delegation": True})
        service.execute_queued_operations(dataset_name=dataset.name)
        return queued

    with ThreadPoolExecutor(1) as thread:  # FiftyOne wants a thread without an event loop
        queued = thread.submit(queue_and_execute).result()
    return service.get(SimpleNamespace(**queued.result).id)
