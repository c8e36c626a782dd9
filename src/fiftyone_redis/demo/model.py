"""A small model that embeds digits and prompts such as "seven", fitted in a moment when loaded.

An embedding has ten dimensions: how much more than the average an image looks like each digit,
from zero to nine, at unit length. Nothing in it depends on the machine, so that vectors that are
stored on one can be searched from another.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone.core.models import EmbeddingsMixin, Model, PromptMixin
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import Pipeline, make_pipeline

from fiftyone_redis.demo import images
from fiftyone_redis.errors import InputError

NAME = "fiftyone-redis-digits-lda"  # as in the zoo source's manifest
SOURCE = "fiftyone-redis-demo"

_DIGIT = re.compile(rf"\b(?:({'|'.join(images.LABELS)})(?:e?s)?|(\d))\b")

Vectors = NDArray[np.float32]


class DigitsModel(EmbeddingsMixin, PromptMixin, Model):
    """Embeds images of digits, and prompts that name digits."""

    def __init__(self) -> None:
        self._preprocess = True

    @property
    def media_type(self) -> str:
        """The media type that this model takes."""
        return "image"

    @property
    def has_embeddings(self) -> bool:
        """Whether this model embeds images: it does."""
        return True

    @property
    def can_embed_prompts(self) -> bool:
        """Whether this model embeds prompts: it does."""
        return True

    @property
    def ragged_batches(self) -> bool:
        """Whether the images of a batch must be passed one by one: they need not."""
        return False

    @property
    def transforms(self) -> Any:
        """The function that is applied to each image first."""
        return images.ink

    @property
    def preprocess(self) -> bool:
        """Whether :attr:`transforms` is still to be applied to what is passed."""
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        self._preprocess = value

    def embed(self, arg: NDArray[Any]) -> Vectors:
        """Embeds one image.

        Args:
            arg: a uint8 image of any size, dark ink on light paper

        Returns:
            a vector of 10 dimensions and unit length

        Raises:
            InputError: this is not an image
        """
        return np.asarray(self.embed_all([arg])[0])

    def embed_all(self, args: Iterable[NDArray[Any]]) -> Vectors:
        """Embeds several images, which may differ in size.

        Args:
            args: the images; see :meth:`embed`

        Returns:
            an array of shape (images, 10)

        Raises:
            InputError: one of them is not an image
        """
        return _embed(np.stack([images.ink(a) if self._preprocess else a for a in args]))

    def embed_prompt(self, arg: str) -> Vectors:
        """Embeds a prompt as the mean of the digits that it names.

        Args:
            arg: the prompt, for instance "seven", "a handwritten 7" or "threes and eights"

        Returns:
            a vector of 10 dimensions and unit length

        Raises:
            InputError: the prompt names no digit
        """
        return np.asarray(_unit(_class_means()[digits_named(arg)].mean(axis=0)))


def load_model(model_name: str, model_path: str, **kwargs: Any) -> DigitsModel:
    """Loads the model: what FiftyOne's model zoo calls.

    Args:
        model_name: the model's name
        model_path: where a downloaded model would be; not used
        **kwargs: options; there are none

    Returns:
        the model

    Raises:
        InputError: an option was given
    """
    del model_path
    if kwargs:
        raise InputError(f"{model_name} takes no options; leave out {', '.join(sorted(kwargs))}.")
    _fitted()
    return DigitsModel()


def download_model(model_name: str, model_path: str) -> None:
    """Does nothing, because there is nothing to download.

    Args:
        model_name: the model's name
        model_path: where a downloaded model would be
    """


def register_model() -> str:
    """Makes the model known to FiftyOne's model zoo, for every process that uses the same zoo.

    Returns:
        the name by which :func:`fiftyone.zoo.load_zoo_model` loads it
    """
    source = Path(__file__).parent / "zoo_source"
    target = Path(fo.config.model_zoo_dir) / SOURCE
    target.mkdir(parents=True, exist_ok=True)
    # The manifest is what makes the model known, so it comes last.
    for file in ("__init__.py", "manifest.json"):
        _copy(source / file, target / file)
    return NAME


def digits_named(prompt: str) -> list[int]:
    """Finds the digits that a prompt names, in words or as figures.

    Args:
        prompt: any text

    Returns:
        the digits in the order of the prompt

    Raises:
        InputError: it names none
    """
    named = [
        images.LABELS.index(word) if word else int(figure)
        for word, figure in _DIGIT.findall(prompt.lower())
    ]
    if not named:
        raise InputError(
            f'The prompt "{prompt}" names no digit; try "seven", "a handwritten 7" '
            'or "threes and eights".'
        )
    return named


def _copy(source: Path, target: Path) -> None:
    """Copies a file unless it is there already, so that no reader ever sees half of it."""
    text = source.read_bytes()
    if target.is_file() and target.read_bytes() == text:
        return
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".")
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    Path(name).chmod(0o644)  # mkstemp makes it readable by its owner only
    Path(name).replace(target)


@cache
def _fitted() -> Pipeline:
    """Fits the features to the train digits, drawn and read back as the model will see them."""
    pixels, labels = images.digits()
    seen = np.stack([images.ink(images.draw(one)) for one in pixels[: images.TRAIN]])
    features = Nystroem(gamma=0.05, n_components=300, random_state=51)
    return make_pipeline(features, LinearDiscriminantAnalysis()).fit(seen, labels[: images.TRAIN])


@cache
def _class_means() -> Vectors:
    pixels, labels = images.digits()
    seen = _embed(np.stack([images.ink(images.draw(one)) for one in pixels[: images.TRAIN]]))
    return np.stack([seen[labels[: images.TRAIN] == digit].mean(axis=0) for digit in range(10)])


def _embed(inks: NDArray[np.float64]) -> Vectors:
    # Scores, not the discriminant axes themselves: the signs of those are the solver's whim.
    scores = _fitted().decision_function(inks)
    return _unit(scores - scores.mean(axis=1, keepdims=True))


def _unit(vectors: NDArray[Any]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)
