"""Pictures of digits: the 8x8 pixels that scikit-learn ships, drawn as dark ink on light paper.

A digit fills a square cell of 10 x 10 pixels of the original's size: its own 8 x 8 and a margin
of one. Whoever draws a digit and whoever reads one back (:func:`ink`) keeps to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from fiftyone_redis.errors import InputError

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN = 1437  # the first four fifths; the digits are ordered by writer, so the rest are others'
SIDE = 160  # of a digit's image, in pixels
SCENE_SIDE = 512  # a power of two, so that relative boxes are exact

_PIXELS, _MARGIN, _INK = 8, 1, 16.0
_CELL = _PIXELS + 2 * _MARGIN
_PAPERS = ((250, 249, 245), (244, 247, 250), (252, 246, 228), (241, 246, 238), (248, 242, 246))
_PENS = ((24, 26, 32), (28, 44, 110), (92, 28, 36), (22, 74, 52), (70, 44, 96))
_SIZES = (70, 176)  # of a digit's cell in a scene, in pixels
_GAP = 6  # between two cells, in pixels

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Placed:
    """A digit in a scene.

    Attributes:
        digit: its position among the 1,797
        x: left edge of its cell, in pixels
        y: upper edge of its cell, in pixels
        size: side of its cell, in pixels
    """

    digit: int
    x: int
    y: int
    size: int


@cache
def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the digits that scikit-learn ships, ordered by writer.

    Returns:
        pixels of shape (1797, 64) between 0 (paper) and 16 (ink), and the 1797 labels, 0 to 9
    """
    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels


def draw(pixels: NDArray[np.float64], size: int = SIDE) -> Gray:
    """Draws one digit in black on white.

    Args:
        pixels: 64 values between 0 (paper) and 16 (ink)
        size: side of the cell that is drawn, in pixels

    Returns:
        a gray image of shape (size, size)
    """
    return (255 * (1 - _strokes(pixels, size))).round().astype(np.uint8)


def ink(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Reads the ink of a digit's cell, whatever the colours of pen and paper.

    Args:
        image: a gray or RGB image of any size, dark ink on light paper

    Returns:
        64 values between 0 (the lightest) and 1 (the darkest)

    Raises:
        InputError: this is not an image, or it is empty
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or not image.size:
        raise InputError(
            f"An array of type {image.dtype} and shape {image.shape} is no image; "
            "pass a uint8 array of shape (height, width) or (height, width, channels)."
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    gray = Image.fromarray(image).convert("L").resize((_CELL, _CELL), Image.Resampling.BOX)
    inside = slice(_MARGIN, _CELL - _MARGIN)
    paper = np.asarray(gray, dtype=np.float64)[inside, inside].ravel()
    darkness = paper.max() - paper
    return np.asarray(darkness / max(darkness.max(), 1.0))


def scenes(count: int, seed: int) -> Iterator[tuple[list[Placed], NDArray[np.uint8]]]:
    """Composes scenes of 3 to 8 digits each, whose cells do not overlap.

    No digit comes twice before every digit came once.

    Args:
        count: how many scenes
        seed: the same seed gives the same scenes

    Yields:
        the digits of a scene, and its RGB image of shape (512, 512, 3)
    """
    rng = np.random.default_rng(seed)
    pixels, _ = digits()
    order = rng.permutation(len(pixels))
    used = 0
    for _ in range(count):
        size = int(rng.integers(3, 9))
        placed = _place([int(order[(used + i) % len(order)]) for i in range(size)], rng)
        used += size
        yield placed, _compose(placed, rng)


def _strokes(pixels: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Returns how much ink there is in each pixel of a drawn cell, between 0 and 1."""
    cell = np.pad(pixels.reshape(_PIXELS, _PIXELS) * (255 / _INK), _MARGIN)
    image = Image.fromarray(cell.round().astype(np.uint8))
    large = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
    # A steeper slope than the interpolation's makes an edge that looks like a pen's.
    return np.clip((large / 255 - 0.15) / 0.7, 0.0, 1.0)


def _place(members: list[int], rng: np.random.Generator) -> list[Placed]:
    """Finds room for each digit, the next try being smaller than the one before."""
    placed: list[Placed] = []
    for digit in members:
        size = int(rng.integers(*_SIZES))
        while True:
            x, y = (int(v) for v in rng.integers(_GAP, SCENE_SIDE - size - _GAP, 2))
            candidate = Placed(digit, x, y, size)
            if not any(_touch(candidate, other) for other in placed):
                break
            size = max(size - 2, _SIZES[0])
        placed.append(candidate)
    return placed


def _touch(a: Placed, b: Placed) -> bool:
    return (
        a.x < b.x + b.size + _GAP
        and b.x < a.x + a.size + _GAP
        and a.y < b.y + b.size + _GAP
        and b.y < a.y + a.size + _GAP
    )


def _compose(placed: list[Placed], rng: np.random.Generator) -> NDArray[np.uint8]:
    pixels, _ = digits()
    paper = np.array(_PAPERS[rng.integers(len(_PAPERS))], dtype=np.float64)
    scene = np.tile(paper, (SCENE_SIDE, SCENE_SIDE, 1))
    for one in placed:
        pen = np.array(_PENS[rng.integers(len(_PENS))], dtype=np.float64)
        cell = scene[one.y : one.y + one.size, one.x : one.x + one.size]
        cell += _strokes(pixels[one.digit], one.size)[:, :, None] * (pen - paper)
    return scene.round().astype(np.uint8)
