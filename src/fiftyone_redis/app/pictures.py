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

from fiftyone_redis.app import own_fields
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.dataset_ids import select_all_slices
from fiftyone_redis.similarity.models import load_model
from fiftyone_redis.similarity.query_forms import shorten

_MAX_REGIONS = 100
_NO_PICTURE = "not a picture that FiftyOne knows, such as .png, .jpg"


@dataclass(frozen=True)
class Region:
    """A label that marks a region of a sample.

    Args:
        sample_id: the id of the sample
        field: the field that the label is in
        label_id: the id of the label
        name: what the label says
        text: where the region is
        filepath: the file of the sample
        box: left, top, width and height of the region, relative to the picture
    """

    sample_id: str
    field: str
    label_id: str
    name: str
    text: str
    filepath: str
    box: tuple[float, ...]


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
                box, name = _find_box(label), label.label or "no label"
                text = _describe_position(box)
                if len(fields) > 1:
                    text = f"{field}, {text}"
                found.append(Region(sample.id, field, label.id, name, text, sample.filepath, box))
    found.sort(key=lambda region: region.label_id not in chosen)
    return found[:_MAX_REGIONS]


def make_nearest_view(
    index: Any,
    vector: Array,
    k: int,
    dist_field: str | None = None,
    replace: bool = False,
    within: Any = None,
) -> tuple[Any, str]:
    """Finds the samples or patches nearest to a vector, and notes their distances.

    The distances are in a field of our own (:mod:`own_fields`): of the dataset or, for patches, of
    the view alone. If a user names a field, it gets them: instead of ours or, for patches, too.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        vector: the vector
        k: the number of neighbours
        dist_field (None): the user's field of the samples or labels that gets the distances
        replace (False): whether to clear that field first if it holds values
        within (None): the view to search in; the dataset of the index by default

    Returns:
        the view, nearest first, and the field of its samples or patches that has the distances

    Raises:
        InputError: if the field holds something else, or values that may not be replaced
        FiftyOneRedisError: if the server cannot be searched; the field is as it was then
    """
    field, dataset = index.config.patches_field, index.samples._root_dataset
    path = find_distance_path(dataset, field, dist_field) if dist_field else None
    if path and not replace:
        _refuse_values(dataset, path)
    with index:
        index.use_view(index.samples if within is None else _find_samples(within, field))
        found = index.find_nearest(vector, k)
        if path and count_values(dataset, path):
            clear_values(dataset, field, path)
        view = index.sort_by_similarity(vector, k=k, dist_field=dist_field or None)
    return (view, path) if path and field is None else _note_distances(index, view, *found)


def _note_distances(
    index: Any, view: Any, ids: Any, label_ids: Any, distances: Any
) -> tuple[Any, str]:
    """Notes distances in a field of our own; returns the view of the samples or patches, and it."""
    field, owner = index.config.patches_field, index.samples._root_dataset
    if field is not None:
        ids = label_ids
        owner = view = view.to_patches(field).select(ids, ordered=True)
    values = {str(id): float(distance) for id, distance in zip(ids, distances, strict=True)}
    return view, own_fields.replace_values(owner, index.key, own_fields.DISTANCE, values)


def _find_samples(view: Any, patches_field: str | None) -> Any:
    """Returns the samples that a view of patches, clips or frames shows parts of.

    Of labels that are indexed, only those that the view shows are left in them.
    """
    if not view._is_generated:
        return view
    ids = list(dict.fromkeys(view.values("sample_id")))
    samples = select_all_slices(view._root_dataset).select(ids)
    if patches_field is None or not view.has_field(patches_field):
        return samples
    _, path = view._get_label_field_path(patches_field, "id")
    return samples.select_labels(ids=view.values(path, unwind=True), fields=patches_field)


def find_distance_path(dataset: Any, patches_field: str | None, dist_field: str) -> str:
    """Returns the path of a field for the distances of samples or patches.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        patches_field: the field whose patches are indexed; None for an index of samples
        dist_field: the name of the field of the samples or labels

    Raises:
        InputError: if the field holds other values than distances
    """
    path = dist_field
    if patches_field is not None:
        _, path = dataset._get_label_field_path(patches_field, dist_field)
    field = dataset.get_field(path)
    if field is not None and not isinstance(field, fo.FloatField):
        raise InputError(
            f"The field {path!r} holds other values than distances; choose another name."
        )
    return path


def count_values(dataset: Any, path: str) -> int:
    """Returns how many values a field holds, in all slices of a grouped dataset; 0 if it is new."""
    if dataset.get_field(path) is None:
        return 0
    count: int = select_all_slices(dataset).count(path)
    return count


def _refuse_values(dataset: Any, path: str) -> None:
    if count := count_values(dataset, path):
        raise InputError(
            f"The field {path!r} holds {count:,} values already; agree to their replacement, or "
            "choose another name."
        )


def clear_values(dataset: Any, patches_field: str | None, path: str) -> None:
    """Clears a field of samples or labels, so that old and new distances are not mixed."""
    # FiftyOne would write a broken label into samples that have none.
    slices = select_all_slices(dataset)
    owners = dataset if patches_field is None else slices.exists(patches_field)
    owners.clear_sample_field(path)


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


def _find_box(label: Any) -> tuple[float, ...]:
    """Returns left, top, width and height of a label."""
    found = label.to_detection() if isinstance(label, fo.Polyline) else label
    return tuple(map(float, found.bounding_box))


def _describe_position(box: tuple[float, ...]) -> str:
    """Describes the centre of a box, in percent from the left and from the top."""
    left, top, width, height = box
    return f"{left + width / 2:.0%} across, {top + height / 2:.0%} down"
