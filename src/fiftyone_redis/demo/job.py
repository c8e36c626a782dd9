"""The demo's job: index, query, remove and add, and show what came of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.zoo as foz

from fiftyone_redis.demo import datasets, picture, queries, report
from fiftyone_redis.demo.model import NAME, register_model
from fiftyone_redis.demo.queries import Query, Subject
from fiftyone_redis.engine.errors import InputError

DIGITS_KEY = "redis_digits"
SCENES_KEY = "redis_scene_patches"
SAMPLES_KEY = "redis_samples"
PATCHES_KEY = "redis_patches"

_BACKEND = "redis"
_CLIP = "clip-vit-base32-torch"
_MANY, _FEW, _MOVED = 40, 10, 100
_T = TypeVar("_T")


def default_folder() -> Path:
    """Returns the folder where the demo keeps its images.

    Returns:
        the value of ``FIFTYONE_REDIS_DEMO_DIR``, else ``~/.fiftyone/redis-demo``
    """
    folder = os.environ.get("FIFTYONE_REDIS_DEMO_DIR")
    return Path(folder) if folder else Path.home() / ".fiftyone" / "redis-demo"


def run(
    dataset: str = "digits",
    model: str | None = None,
    folder: Path | None = None,
    pictures: Path | None = None,
    launch: bool = False,
) -> None:
    """Runs the demo and prints what it does, with timings and how often neighbours agree.

    The datasets and their indexes stay, so that the FiftyOne App shows them; running it again
    makes the indexes afresh.

    Args:
        dataset: ``"digits"``, or the name of a FiftyOne zoo dataset, which may be downloaded
        model: the name of the zoo model that embeds, by default one that fits the dataset
        folder: where the demo keeps its images, by default :func:`default_folder`
        pictures: where the picture of the neighbours goes, by default ``folder``
        launch: whether to open the FiftyOne App at the end and stay until it is closed

    Raises:
        InputError: there are no images to search
        FiftyOneRedisError: Redis cannot do what is asked of it
    """
    folder = (folder or default_folder()).expanduser().resolve()
    target = (pictures or folder).expanduser().resolve() / "neighbours.png"
    with _quiet():
        subjects = _digits(folder, model) if dataset == "digits" else _zoo(dataset, model)
        rows = [row for subject in subjects for row in _search(subject)]
        picture.draw(rows, target, f"{dataset}: queries and their nearest neighbours in Redis")
    report.heading("to look at")
    report.line("picture", str(target))
    for subject in subjects:
        report.line("index", f"{subject.brain_key} of dataset {subject.dataset.name}")
    if launch:
        _open_app(subjects[0].dataset)


def _digits(folder: Path, model: str | None) -> list[Subject]:
    """Makes the digits and the scenes ready."""
    report.heading("handwritten digits from scikit-learn")
    digits, seconds = _timed(lambda: datasets.digits(folder))
    report.line("dataset", f"{digits.name}: {len(digits):,} images", seconds)
    scenes, seconds = _timed(lambda: datasets.scenes(folder))
    patches = scenes.to_patches(datasets.FIELD)
    what = f"{scenes.name}: {len(scenes):,} images of {len(patches):,} digits"
    report.line("dataset", what, seconds)
    name = model or register_model()
    label, prompt = f"{datasets.FIELD}.label", "a handwritten {}"
    # The model has not seen the test digits, so that they are the ones to ask about.
    unseen = digits.match_tags("test")
    unseen_patches = patches.match(fo.ViewField(f"{datasets.FIELD}.tags").contains("test"))
    return [
        Subject(digits, DIGITS_KEY, name, digits, unseen, None, label, prompt),
        Subject(scenes, SCENES_KEY, name, patches, unseen_patches, datasets.FIELD, label, prompt),
    ]


def _zoo(name: str, model: str | None) -> list[Subject]:
    """Makes a zoo dataset ready: its samples, and its patches if there is a field of them."""
    report.heading(f"{name} from FiftyOne's dataset zoo")
    dataset, seconds = _timed(lambda: foz.load_zoo_dataset(name))
    if not len(dataset) or dataset.media_type != "image":
        raise InputError(f"The dataset {name} has no images; choose another one.")
    dataset.persistent = True  # else the index would outlive it
    report.line("dataset", f"{dataset.name}: {len(dataset):,} images", seconds)
    model = model or (register_model() if model == NAME else _CLIP)
    kind = getattr(dataset.get_field(datasets.FIELD), "document_type", None)
    label = f"{datasets.FIELD}.label"
    of_samples = label if kind is fo.Classification else None
    subjects = [
        Subject(dataset, SAMPLES_KEY, model, dataset, dataset, None, of_samples),
    ]
    if kind in (fo.Detection, fo.Detections, fo.Polyline, fo.Polylines):
        patches = dataset.to_patches(datasets.FIELD)
        subjects.append(
            Subject(dataset, PATCHES_KEY, model, patches, patches, datasets.FIELD, label)
        )
    return subjects


def _search(subject: Subject) -> list[picture.Row]:
    """Indexes and searches one subject, and returns what the picture shows of it."""
    report.heading(f"{'samples' if subject.patches_field is None else 'patches'} of "
                   f"{subject.dataset.name}")
    index = _index(subject)
    one = queries.by_id(subject, _MANY)
    vectors = queries.by_vector(subject, index, _MANY)
    several = queries.by_ids(subject, _FEW)
    texts = queries.by_text(subject, _FEW) if index.supports_prompts else []
    labels = [] if subject.label is None else queries.frequent_labels(subject, 3)
    part = queries.restricted(subject, labels)
    inside = queries.by_id(part, _MANY)
    _ask(subject, "by id", "an image", one)
    _ask(subject, "by vector", "a vector", vectors)
    _ask(subject, "by several ids", "3 images of one label", several)
    if texts:
        _ask(subject, "by text", f'a prompt like "{texts[0].value}"', texts)
    _ask(part, "inside a view", f"an image, among {len(part.items):,}", inside)
    _remove_and_add(subject, index)
    return _rows(subject, part, index, one, several, texts, inside)
