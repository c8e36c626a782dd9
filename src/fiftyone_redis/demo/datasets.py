"""The demo's two datasets: the digits one by one, and scenes of several digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_redis.demo import images

DIGITS = "fiftyone-redis-digits"
SCENES = "fiftyone-redis-scenes"
NAMES = (DIGITS, SCENES)
"""The names of the datasets that the demo makes."""

FOLDERS = ("digits", "scenes")
"""The folders of their images, in the folder of the demo."""

NOTE = "fiftyone_redis_demo"
"""The key in the info of a dataset under which the demo notes what it did to it."""

FIELD = "ground_truth"

_FORMAT = 1  # raised when images or fields change, so that old datasets are made again


def digits(folder: Path) -> fo.Dataset:
    """Returns the dataset of the 1,797 digits, making it first if it is missing.

    Each sample has a ``ground_truth`` classification from "zero" to "nine" and one of the tags
    "train" (the first four fifths) and "test".

    Args:
        folder: the folder for images; the digits' are in ``digits`` below it

    Returns:
        the persistent dataset named "fiftyone-redis-digits"
    """
    target = folder / "digits"
    return _ready(DIGITS, {"folder": str(target)}, partial(_digit_samples, target), target)


def scenes(folder: Path, count: int = 300, seed: int = 51) -> fo.Dataset:
    """Returns the dataset of scenes, making it first if it is missing.

    Each sample has ``ground_truth`` detections: 3 to 8 digits, with their exact boxes.

    Args:
        folder: the folder for images; the scenes' are in ``scenes`` below it
        count: how many scenes, from 1
        seed: the same seed gives the same scenes

    Returns:
        the persistent dataset named "fiftyone-redis-scenes"
    """
    target = folder / "scenes"
    recipe = {"folder": str(target), "count": count, "seed": seed}
    return _ready(SCENES, recipe, partial(_scene_samples, target, count, seed), target)


def forget(dataset: fo.Dataset, brain_key: str) -> None:
    """Deletes a similarity index and its record, if there is one.

    Args:
        dataset: the dataset
        brain_key: the key of the index
    """
    if not dataset.has_brain_run(brain_key):
        return
    dataset.load_brain_results(brain_key).cleanup()
    dataset.delete_brain_run(brain_key)


def note_use(dataset: fo.Dataset, is_new: bool) -> None:
    """Makes a dataset of the zoo persistent, and notes in it how it was before.

    Args:
        dataset: the dataset
        is_new: whether the demo has loaded it into FiftyOne
    """
    before = {"is_new": is_new, "was_persistent": dataset.persistent}
    dataset.info[NOTE] = dataset.info.get(NOTE, before)
    dataset.save()
    dataset.persistent = True  # else its index would outlive it


def note_picture(dataset: fo.Dataset, picture: Path) -> None:
    """Notes in a dataset where the picture of its neighbours is."""
    dataset.info[NOTE] = {**dataset.info.get(NOTE, {}), "picture": str(picture)}
    dataset.save()


def _ready(
    name: str, recipe: dict[str, Any], make: Callable[[], Iterable[fo.Sample]], target: Path
) -> fo.Dataset:
    """Returns the dataset if it was made by this recipe and its images are there, else makes it."""
    recipe = {"format": _FORMAT, **recipe}
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
        images_there = sum(1 for _ in target.glob("*.png")) if target.is_dir() else 0
        if dataset.info.get("recipe") == recipe and images_there == len(dataset) > 0:
            return dataset
        for key in dataset.list_brain_runs(type="similarity"):
            forget(dataset, key)
    empty(target)
    dataset = fo.Dataset(name, persistent=True, overwrite=True)
    dataset.add_samples(list(make()), progress=False)
    dataset.info["recipe"] = recipe  # last, so that a dataset that was cut short is made again
    dataset.save()
    return dataset


def empty(target: Path) -> None:
    """Deletes the images in a folder, which is made if it does not exist."""
    target.mkdir(parents=True, exist_ok=True)
    for image in target.glob("*.png"):
        image.unlink()


def _digit_samples(target: Path) -> Iterable[fo.Sample]:
    pixels, labels = images.digits()
    for i, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        sample = _sample(target / f"{i:04}.png", images.draw(one))
        sample.tags = [_tag(i)]
        sample[FIELD] = fo.Classification(label=images.LABELS[label])
        yield sample


def _scene_samples(target: Path, count: int, seed: int) -> Iterable[fo.Sample]:
    for i, (placed, image) in enumerate(images.scenes(count, seed)):
        sample = _sample(target / f"{i:04}.png", image)
        sample[FIELD] = fo.Detections(detections=[_detection(one) for one in placed])
        yield sample


def _detection(placed: images.Placed) -> fo.Detection:
    _, labels = images.digits()
    box = [v / images.SCENE_SIDE for v in (placed.x, placed.y, placed.size, placed.size)]
    label = images.LABELS[labels[placed.digit]]
    return fo.Detection(label=label, bounding_box=box, tags=[_tag(placed.digit)])


def _tag(digit: int) -> str:
    return "train" if digit < images.TRAIN else "test"


def _sample(path: Path, image: NDArray[np.uint8]) -> fo.Sample:
    """Writes an image and returns a sample of it, with what the App wants to know beforehand."""
    Image.fromarray(image).save(path, compress_level=4)
    metadata = fo.ImageMetadata(
        size_bytes=path.stat().st_size,
        mime_type="image/png",
        width=image.shape[1],
        height=image.shape[0],
        num_channels=1 if image.ndim == 2 else image.shape[2],
    )
    return fo.Sample(filepath=str(path), metadata=metadata)
