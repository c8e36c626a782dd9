"""Views of samples or patches by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiftyone_redis.similarity.dataset_ids import select_all_slices


def make_view(index: Any, ids: list[str], owners: Sequence[str] | None = None) -> Any:
    """Returns a view of samples or patches, in the order of their ids.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        ids: their ids
        owners (None): the samples of the patches; by default the index is asked
    """
    field = index.config.patches_field
    if field is None:
        return select_all_slices(index.samples).select(ids, ordered=True)
    if owners is None:
        _, found, _ = index.get_embeddings(label_ids=ids, progress=False)
        owners = found.tolist()
    samples = index.samples.select(list(dict.fromkeys(owners)))
    patches = samples.select_labels(ids=ids, fields=field).to_patches(field)
    return patches.select(ids, ordered=True)


def tag(index: Any, ids: list[str], name: str) -> None:
    """Tags samples or labels.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        ids: their ids
        name: the tag
    """
    field = index.config.patches_field
    if field is None:
        index.samples.select(ids).tag_samples(name)
    else:
        index.samples.select_labels(ids=ids, fields=field).tag_labels(name, label_fields=field)
