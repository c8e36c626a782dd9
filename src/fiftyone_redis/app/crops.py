"""Small pictures of the regions of samples, as the page shows them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image

SIZE = 72
"""The width and height of a crop in pixels."""

_MARGIN = 0.08  # of the region, so that its edge is seen
_QUALITY = 80


def make_crop(path: str, box: Sequence[float]) -> str | None:
    """Returns a region of a picture as a ``data:`` URL; None if the file is no picture.

    Args:
        path: the path of the picture
        box: left, top, width and height of the region, relative to the picture
    """
    with suppress(OSError, ValueError, Image.DecompressionBombError):
        return _make_crop(path, tuple(box), Path(path).stat().st_mtime_ns)
    return None


@lru_cache(1000)
def _make_crop(path: str, box: tuple[float, ...], _version: int) -> str:
    left, top, width, height = box
    with Image.open(path) as picture:
        full_width, full_height = picture.size
        edges = (
            round(max(0.0, left - _MARGIN * width) * full_width),
            round(max(0.0, top - _MARGIN * height) * full_height),
            round(min(1.0, left + (1 + _MARGIN) * width) * full_width),
            round(min(1.0, top + (1 + _MARGIN) * height) * full_height),
        )
        crop = picture.convert("RGB").crop(edges)
    scale = SIZE / max(1, *crop.size)
    small = crop.resize([max(1, round(side * scale)) for side in crop.size])
    content = BytesIO()
    small.save(content, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
