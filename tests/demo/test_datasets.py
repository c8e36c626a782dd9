"""The two datasets are what scikit-learn ships, drawn so that every box and label is true."""

from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fiftyone_redis.demo import datasets, images
from fiftyone_redis.demo.model import register_model


def test_there_are_1797_digits_with_the_labels_of_scikit_learn(digits):
    labels = [images.LABELS.index(label) for label in digits.values("ground_truth.label")]
    assert labels == load_digits().target.tolist()
    assert len(labels) == 1797


def test_the_digits_are_divided_into_train_and_test(digits):
    assert digits.count_sample_tags() == {"train": 1437, "test": 360}


def test_each_digit_is_an_image_of_its_own(digits):
    paths = digits.values("filepath")
    assert len(set(paths)) == 1797
    assert all(Path(path).is_file() for path in paths)
    with Image.open(paths[0]) as image:
        assert image.size == (images.SIDE, images.SIDE)


def test_a_drawn_digit_is_read_back_as_it_was():
    pixels, _ = images.digits()
    correlations = [np.corrcoef(images.ink(images.draw(one)), one)[0, 1] for one in pixels[:100]]
    assert min(correlations) > 0.95


def test_neither_size_nor_colours_matter_to_what_is_read():
    pixels, _ = images.digits()
    plain = images.draw(pixels[7], 160)
    share = 1 - images.draw(pixels[7], 90)[:, :, None] / 255
    tinted = (np.array([252, 246, 228]) + share * np.array([-224, -202, -118])).astype(np.uint8)
    np.testing.assert_allclose(images.ink(tinted), images.ink(plain), atol=0.08)


def test_a_dataset_that_is_there_is_not_made_again(scenes, tmp_path):
    ids = scenes.values("id")
    assert datasets.scenes(tmp_path, count=12).values("id") == ids


def test_a_dataset_is_made_again_when_an_image_is_gone(scenes, tmp_path):
    missing = Path(scenes.first().filepath)
    missing.unlink()
    again = datasets.scenes(tmp_path, count=12)
    assert missing.is_file()
    assert len(again) == 12


def test_a_dataset_is_made_again_when_it_is_to_be_another(scenes, tmp_path):
    assert len(scenes) == 12
    assert len(datasets.scenes(tmp_path, count=5)) == 5
    assert len(list((tmp_path / "scenes").glob("*.png"))) == 5


def test_the_datasets_stay_when_fiftyone_ends(digits, scenes):
    assert digits.persistent
    assert scenes.persistent


def test_a_scene_has_3_to_8_digits(scenes):
    counts = [len(labels) for labels in scenes.values("ground_truth.detections.label")]
    assert all(3 <= count <= 8 for count in counts)
    assert len(set(counts)) > 1


def test_boxes_do_not_overlap_and_lie_inside_the_scene(scenes):
    for boxes in scenes.values("ground_truth.detections.bounding_box"):
        covered = np.zeros((images.SCENE_SIDE, images.SCENE_SIDE), dtype=int)
        for box in boxes:
            x, y, width, height = (int(v * images.SCENE_SIDE) for v in box)
            assert x + width <= images.SCENE_SIDE
            assert y + height <= images.SCENE_SIDE
            covered[y : y + height, x : x + width] += 1
        assert covered.max() == 1


def test_outside_of_the_boxes_there_is_only_paper(scenes):
    sample = scenes.first()
    with Image.open(sample.filepath) as file:
        scene = np.array(file)
    paper = scene[0, 0].copy()
    for detection in sample.ground_truth.detections:
        x, y, width, height = (int(v * images.SCENE_SIDE) for v in detection.bounding_box)
        scene[y : y + height, x : x + width] = paper
    assert (scene == paper).all()


def test_a_box_holds_the_digit_that_its_label_says(scenes):
    pixels, labels = images.digits()
    composed = list(images.scenes(12, 51))
    for sample, (placed, scene) in zip(scenes, composed, strict=True):
        for detection, one in zip(sample.ground_truth.detections, placed, strict=True):
            x, y, width, _ = (int(v * images.SCENE_SIDE) for v in detection.bounding_box)
            crop = scene[y : y + width, x : x + width]
            assert detection.label == images.LABELS[labels[one.digit]]
            assert np.corrcoef(images.ink(crop), pixels[one.digit])[0, 1] > 0.95


@pytest.mark.parametrize(("seed", "same"), [(51, True), (52, False)])
def test_the_seed_decides_what_the_scenes_are(seed, same):
    (_, first), (_, second) = next(images.scenes(1, 51)), next(images.scenes(1, seed))
    assert np.array_equal(first, second) is same


def test_no_digit_comes_twice_before_every_digit_came_once():
    used = [one.digit for placed, _ in images.scenes(30, 51) for one in placed]
    assert len(set(used)) == len(used)


def test_indexes_are_forgotten_when_their_dataset_is_made_again(scenes, tmp_path, redis_backend):
    index = fob.compute_similarity(
        scenes,
        patches_field="ground_truth",
        model=register_model(),
        brain_key="patches",
        backend="redis",
    )
    assert index.total_index_size > 0
    datasets.scenes(tmp_path, count=5)
    assert index.client.execute_command("FT._LIST") == []


def test_forgetting_a_run_that_is_not_there_does_nothing(scenes):
    datasets.forget(scenes, "no_such_run")
    assert fo.dataset_exists(datasets.SCENES)
