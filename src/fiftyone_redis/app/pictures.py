"""Searches with a query that is not in the index: a picture, or a region of a sample."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import fiftyone as fo
from fiftyone.core.models import TorchModelMixin

from fiftyone_redis.engine.codec import Array
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.query_forms import shorten
from fiftyone_redis.similarity.sync import load_model

_MAX_REGIONS = 100
_NO_PICTURE = "not a picture that FiftyOne knows, such as .png, .jpg"


@dataclass(frozen=True)
class Region:
    """A label that marks a region of a sample.

    Args:
        sample_id: the id of the sample
        field: the field that the label is in
        label_id: the id of the label
        text: its description for the form
    """

    sample_id: str
    field: str
    label_id: str
    text: str


def embed_file(index: Any, path: str) -> Array:
    """Embeds a picture with an index's model, as samples are embedded.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        path: the path of the picture's file

    Raises:
        InputError: if the file is not a picture, or the index has no model
    """
    file = _find_file(path)
    return _embed_picture(index, file, file.name)


def embed_upload(index: Any, upload: Any) -> Array:
    """Embeds an uploaded picture; see :func:`embed_file`.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        upload: FiftyOne's ``UploadedFile``: its ``name``, and its ``content`` in base64

    Raises:
        InputError: if the file is not a picture, or the index has no model
    """
    if not isinstance(upload, dict):
        upload = {}
    name = str(upload.get("name") or "picture.png")
    try:
        content = base64.b64decode(str(upload.get("content") or ""), validate=True)
    except ValueError:
        content = b""
    if not content:
        raise InputError(f"The upload of {shorten(name)} is empty; choose the file again.")
    # The rest of a name may be longer than a file system takes, or no name of a file at all.
    suffix = PurePath(name).suffix
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,10}", suffix):
        raise InputError(f"{shorten(name)} is {_NO_PICTURE}.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"upload{suffix}"
        file.write_bytes(content)
        return _embed_picture(index, file, name)


def embed_region(index: Any, region: Region) -> Array:
    """Returns the vector of a region: from the index if it is indexed, else embeds its crop.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex` of patches
        region: the region

    Raises:
        InputError: if the region is not indexed and cannot be embedded
    """
    vectors, _, _ = index.get_embeddings(label_ids=[region.label_id], progress=False)
    if len(vectors):
        vector: Array = vectors[0]
        return vector
    model = load_model(index)
    view = index.samples.select(region.sample_id).select_labels(
        ids=[region.label_id], fields=[region.field]
    )
    found = view.compute_patch_embeddings(
        model, region.field, progress=False, **_single_process(model)
    )
    crops = found.get(region.sample_id)
    if crops is None or not len(crops):
        raise InputError("The region cannot be embedded; check that the file of its sample exists.")
    crop: Array = crops[0]
    return crop


def list_regions(dataset: Any, sample_ids: list[str], chosen: list[str]) -> list[Region]:
    """Lists the regions that are marked by labels of samples.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        sample_ids: the ids of the samples
        chosen: the ids of labels to list first
    """
    fields = dataset.get_field_schema(
        embedded_doc_type=(fo.Detection, fo.Detections, fo.Polyline, fo.Polylines)
    )
    found = []
    for sample in dataset.select(sample_ids, ordered=True):
        for field in fields:
            for label in _labels(sample[field]):
                text = f"{label.label or 'no label'} in {field}, {_describe_position(label)}"
                found.append(Region(sample.id, field, label.id, text))
    found.sort(key=lambda region: region.label_id not in chosen)
    return found[:_MAX_REGIONS]


def make_nearest_view(
    index: Any, vector: Array, k: int, dist_field: str, within: Any = None
) -> tuple[Any, str]:
    """Finds the samples or patches nearest to a vector, and stores their distances.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        vector: the vector
        k: the number of neighbours
        dist_field: the field of the samples or labels that gets the distances
        within (None): the view to search in; the dataset of the index by default

    Returns:
        the view, nearest first, and the path of the distance field

    Raises:
        InputError: if the field holds other values than distances
        FiftyOneRedisError: if the server cannot be searched
    """
    field = index.config.patches_field
    samples = index.samples if within is None or within._is_patches else within
    path = dist_field
    if field is not None:
        _, path = samples._get_label_field_path(field, dist_field)
    _check_field(index.samples, path)
    with index:
        index.use_view(samples)
        view = index.sort_by_similarity(vector, k=k, dist_field=dist_field)
    if field is None:
        return view, path
    # A patch has a single label, so the path has no list of labels.
    return view.to_patches(field).sort_by(f"{field}.{dist_field}"), path


def _embed_picture(index: Any, file: Path, name: str) -> Array:
    """Embeds a file that exists; errors call it by the given name."""
    sample = fo.Sample(filepath=str(file))
    if sample.media_type != "image":
        raise InputError(f"{shorten(name)} is {_NO_PICTURE}.")
    model = load_model(index)
    with _temporary_dataset(sample) as samples:
        vectors = samples.compute_embeddings(model, progress=False, **_single_process(model))
    if vectors is None or not len(vectors) or vectors[0] is None:
        raise InputError(
            f"{shorten(name)} cannot be read as a picture; check that the file is complete."
        )
    vector: Array = vectors[0]
    return vector


def _find_file(path: str) -> Path:
    """Returns the absolute path of a file that exists."""
    # A path can be too long, hold what no path can, or name the home of a user who does not exist.
    with suppress(OSError, RuntimeError, ValueError):
        file = Path(path).expanduser().absolute()
        if file.is_file():
            return file
    raise InputError(f"There is no file {shorten(path)} on the machine of the App's server.")


def _check_field(samples: Any, path: str) -> None:
    field = samples.get_field(path)
    if field is not None and not isinstance(field, fo.FloatField):
        raise InputError(
            f"The field {path!r} holds other values than distances; choose another name."
        )


@contextmanager
def _temporary_dataset(sample: Any) -> Iterator[Any]:
    """Yields a temporary dataset with one sample."""
    dataset = fo.Dataset()
    try:
        dataset.add_sample(sample)
        yield dataset
    finally:
        dataset.delete()


def _single_process(model: Any) -> dict[str, Any]:
    """Returns arguments that keep Torch from starting worker processes for a single file."""
    return {"num_workers": 0} if isinstance(model, TorchModelMixin) else {}


def _labels(value: Any) -> list[Any]:
    """Returns the labels of a field's value: one, none, or a list of them."""
    if value is None:
        return []
    for name in ("detections", "polylines"):
        if name in value._fields:
            return list(value[name])
    return [value]


def _describe_position(label: Any) -> str:
    """Describes the centre of a label, in percent from the left and from the top."""
    box = label.to_detection().bounding_box if isinstance(label, fo.Polyline) else None
    left, top, width, height = box or label.bounding_box
    return f"at {left + width / 2:.0%} across, {top + height / 2:.0%} down"
