"""The demo does its job in a real Redis, and shows what came of it."""

import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import pytest
from PIL import Image

from fiftyone_redis import demo
from fiftyone_redis.demo import datasets, images, job, queries, subjects
from fiftyone_redis.demo.model import NAME
from fiftyone_redis.errors import InputError

STEPS = ["index", "by id", "by vector", "by several ids", "by text", "in a view"]
STEPS += ["read", "remove", "add"]


@pytest.fixture
def backend(redis_backend):
    """Redis for a whole run of the demo, whose indexes are forgotten afterwards."""
    yield redis_backend
    for name in fo.list_datasets():
        dataset = fo.load_dataset(name)
        for key in dataset.list_brain_runs():
            datasets.forget(dataset, key)


@pytest.fixture
def patches(scenes, model, backend):
    """The patches of twelve scenes, and their index."""
    items = scenes.to_patches("ground_truth")
    label = "ground_truth.label"
    words = subjects.frequent(items, label)
    subject = subjects.Subject(
        scenes, "patches", NAME, items, items, words, "ground_truth", label, "{}"
    )
    index = fob.compute_similarity(
        scenes, patches_field="ground_truth", model=NAME, brain_key="patches", backend="redis"
    )
    return subject, index


def steps_of(output: str) -> list[str]:
    return [line[:16].strip() for line in output.splitlines()]


@pytest.mark.slow
def test_the_demo_indexes_and_searches_digits_and_scenes(folder, digits, backend, capfd):
    demo.run(folder=folder)

    output = capfd.readouterr().out
    assert [step for step in steps_of(output) if step in STEPS] == STEPS * 2
    assert str(folder / "neighbours.png") in output
    sizes = [
        digits.load_brain_results("redis_digits").total_index_size,
        fo.load_dataset(datasets.SCENES).load_brain_results("redis_scene_patches").total_index_size,
    ]
    assert sizes == [1797, fo.load_dataset(datasets.SCENES).count("ground_truth.detections")]
    shares = [float(line.split()[-1][:-1]) for line in output.splitlines() if line.endswith("%")]
    assert len(shares) == 10
    assert min(shares) >= 90


def test_a_zoo_dataset_is_indexed_by_samples_and_by_patches(zoo_dataset, backend, tmp_path, capfd):
    demo.run(zoo_dataset, NAME, folder=tmp_path, pictures=tmp_path / "pictures")

    dataset = fo.load_dataset(zoo_dataset)
    assert dataset.list_brain_runs() == ["redis_patches", "redis_samples"]
    assert dataset.persistent
    assert dataset.load_brain_results("redis_samples").total_index_size == 12
    with Image.open(tmp_path / "pictures" / "neighbours.png") as picture:
        assert picture.width > 1000
    assert [step for step in steps_of(capfd.readouterr().out) if step in STEPS] == STEPS * 2


@pytest.mark.slow
def test_a_second_run_leaves_no_index_of_the_first_behind(zoo_dataset, backend, client, tmp_path):
    demo.run(zoo_dataset, NAME, folder=tmp_path)
    demo.run(zoo_dataset, NAME, folder=tmp_path)
    assert len(client.execute_command("FT._LIST")) == 2


def test_patches_without_labels_are_not_searched(scenes, monkeypatch):
    scenes.set_field("ground_truth.detections.label", None).save()
    monkeypatch.setattr(subjects.foz, "load_zoo_dataset", lambda _: scenes)
    assert [subject.kind for subject in subjects.zoo("scenes", NAME)] == ["samples"]


def test_classified_samples_are_judged_by_their_label(digits, monkeypatch):
    monkeypatch.setattr(subjects.foz, "load_zoo_dataset", lambda _: digits)
    (subject,) = subjects.zoo("digits", NAME)
    assert subject.label == "ground_truth.label"
    assert sorted(subject.words) == sorted(images.LABELS)


def test_a_dataset_that_is_not_of_images_is_refused(monkeypatch):
    monkeypatch.setattr(subjects.foz, "load_zoo_dataset", lambda _: fo.Dataset())
    with pytest.raises(InputError, match="not one of images"):
        subjects.zoo("words", NAME)


def test_a_query_is_not_its_own_neighbour(patches):
    subject, index = patches
    query = queries.by_id(subject, 1)[0]
    row = queries.picture_row(subject, index, query, "by id", "")
    assert len(row.neighbours) == 10
    assert row.query[0] not in [neighbour.crop for neighbour in row.neighbours]


def test_neighbours_of_a_picture_are_ordered_by_distance(patches):
    subject, index = patches
    for query in [*queries.by_text(subject, 3), *queries.by_ids(subject, 1)]:
        row = queries.picture_row(subject, index, query, "", "")
        distances = [neighbour.distance for neighbour in row.neighbours]
        assert distances == sorted(distances)


def test_several_ids_share_a_label(patches):
    subject, _ = patches
    labels = dict(zip(*subject.items.values(["id", "ground_truth.label"]), strict=True))
    several = queries.by_ids(subject, 4)
    assert several
    assert all({labels[one] for one in query.ids} == {query.label} for query in several)
    assert all(len(query.ids) == 3 for query in several)


def test_a_search_in_a_view_finds_nothing_outside_of_it(patches):
    subject, _ = patches
    part, _ = queries.restricted(subject)
    query = queries.by_id(part, 1)[0]
    found = queries.nearest(part, query).values("ground_truth.label")
    assert len(found) == 11
    assert set(found) <= set(part.items.distinct("ground_truth.label"))
    assert len(part.items) < len(subject.items)


def test_agreement_is_the_share_of_neighbours_with_the_label(patches):
    subject, _ = patches
    right = queries.Query("seven", "seven")
    wrong = queries.Query("seven", "eight")
    answers = queries.ask(subject, [right, wrong])
    sevens = subject.items.count_values("ground_truth.label")["seven"]
    assert answers[0].share >= min(sevens, 10) * 0.08
    assert answers[1].share <= 0.4
    assert queries.agreement(answers) == (answers[0].share + answers[1].share) / 2
    assert queries.median_time(answers) > 0


def test_the_folder_can_be_set(monkeypatch):
    monkeypatch.delenv("FIFTYONE_REDIS_DEMO_DIR", raising=False)
    assert job.default_folder() == Path.home() / ".fiftyone" / "redis-demo"
    monkeypatch.setenv("FIFTYONE_REDIS_DEMO_DIR", "/elsewhere")
    assert job.default_folder() == Path("/elsewhere")


def test_importing_the_demo_imports_nothing_slow():
    code = (
        "import sys, fiftyone_redis.demo\n"
        "assert not {'fiftyone', 'matplotlib', 'numpy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
