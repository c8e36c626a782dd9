"""What the demo indexes and searches: the digits and scenes, or a dataset of FiftyOne's zoo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo
import fiftyone.zoo as foz

from fiftyone_redis.demo import datasets
from fiftyone_redis.demo.datasets import FIELD
from fiftyone_redis.demo.report import line, timed
from fiftyone_redis.errors import InputError

DIGITS_KEY = "redis_digits"
SCENES_KEY = "redis_scene_patches"
SAMPLES_KEY = "redis_samples"
PATCHES_KEY = "redis_patches"

_LABEL = f"{FIELD}.label"
_ANYTHING = ("dog", "car", "person")  # for images without labels
_PATCHES = (fo.Detection, fo.Detections, fo.Polyline, fo.Polylines)


@dataclass(frozen=True)
class Subject:
    """What is indexed and searched.

    Attributes:
        dataset: the dataset
        brain_key: the key of its index
        model: the name of the zoo model that embeds
        items: the dataset, or the view of its patches
        queries: those of the items from which the queries are taken
        patches_field: the field whose patches are indexed; None for samples
        words: labels to ask for in text prompts, the most frequent first
        label: the path of an item's label; None if there is none to judge by
        prompt: a text prompt, with braces in place of a word
    """

    dataset: fo.Dataset
    brain_key: str
    model: str
    items: fo.core.collections.SampleCollection
    queries: fo.core.collections.SampleCollection
    words: tuple[str, ...]
    patches_field: str | None = None
    label: str | None = None
    prompt: str = "a photo of a {}"

    @property
    def ids_name(self) -> str:
        """The keyword by which an index takes the ids of these items."""
        return "sample_ids" if self.patches_field is None else "label_ids"

    @property
    def kind(self) -> str:
        """What the items are: ``"samples"`` or ``"patches"``."""
        return "samples" if self.patches_field is None else "patches"


def digits(folder: Path, model: str) -> list[Subject]:
    """Makes the digits and the scenes ready.

    Args:
        folder: where their images are kept
        model: the name of the zoo model that embeds

    Returns:
        the samples of the digits and the patches of the scenes
    """
    singles, seconds = timed(lambda: datasets.digits(folder))
    line("dataset", f"{singles.name}: {len(singles):,} images", seconds)
    scenes, seconds = timed(lambda: datasets.scenes(folder))
    patches = scenes.to_patches(FIELD)
    line("dataset", f"{scenes.name}: {len(scenes)} images of {len(patches):,} digits", seconds)
    # The model has not seen the test digits, so that they are the ones to ask about.
    unseen = singles.match_tags("test")
    unseen_patches = patches.match(fo.ViewField(f"{FIELD}.tags").contains("test"))
    prompt = "a handwritten {}"
    words, patch_words = frequent(singles, _LABEL), frequent(patches, _LABEL)
    return [
        Subject(singles, DIGITS_KEY, model, singles, unseen, words, None, _LABEL, prompt),
        Subject(
            scenes, SCENES_KEY, model, patches, unseen_patches, patch_words, FIELD, _LABEL, prompt
        ),
    ]


def zoo(name: str, model: str) -> list[Subject]:
    """Makes a zoo dataset ready, which FiftyOne downloads if need be.

    Args:
        name: the name of the zoo dataset
        model: the name of the zoo model that embeds

    Returns:
        its samples, and the patches of its ``ground_truth`` if that field has any

    Raises:
        InputError: it is not a dataset of images
    """
    is_new = not fo.dataset_exists(name)
    dataset, seconds = timed(lambda: foz.load_zoo_dataset(name))
    if dataset.media_type != "image":
        raise InputError(f"The dataset {name} is not one of images; choose another one.")
    datasets.note_use(dataset, is_new)
    line("dataset", f"{dataset.name}: {len(dataset):,} images", seconds)
    kind = getattr(dataset.get_field(FIELD), "document_type", None)
    items = dataset.to_patches(FIELD) if kind in _PATCHES else dataset
    labelled = kind in _PATCHES or kind is fo.Classification
    words = frequent(items, _LABEL) if labelled else ()
    if kind is fo.Classification and words:
        return [Subject(dataset, SAMPLES_KEY, model, dataset, dataset, words, None, _LABEL)]
    samples = Subject(dataset, SAMPLES_KEY, model, dataset, dataset, words or _ANYTHING)
    if not words:
        return [samples]
    return [samples, Subject(dataset, PATCHES_KEY, model, items, items, words, FIELD, _LABEL)]


def frequent(items: fo.core.collections.SampleCollection, label: str) -> tuple[str, ...]:
    """Returns the labels of items, the most frequent first.

    Args:
        items: samples or patches
        label: the path of their label

    Returns:
        the labels
    """
    counts = items.count_values(label)
    named = [one for one in counts if one is not None]
    return tuple(sorted(named, key=lambda one: (-counts[one], one)))
