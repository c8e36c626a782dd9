"""The ids of a dataset's samples or patches, as they are in an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def list_ids(samples: Any, patches_field: str | None) -> list[str]:
    """Lists the ids of samples or patches, of all slices.

    Args:
        samples: a :class:`fiftyone.core.collections.SampleCollection`
        patches_field: the field of the patches; None for samples
    """
    return [id for _, id in iterate_ids(samples, patches_field)]


def iterate_ids(samples: Any, patches_field: str | None) -> Iterator[tuple[str, str]]:
    """Yields pairs of a sample id and the id in the index, in the order of the dataset.

    Args:
        samples: a :class:`fiftyone.core.collections.SampleCollection`; all of its slices count
        patches_field: the field of the patches; None for samples
    """
    samples = select_all_slices(samples)
    if patches_field is None:
        yield from ((id, id) for id in samples.values("id"))
        return
    _, path = samples._get_label_field_path(patches_field, "id")
    for sample_id, labels in zip(*samples.values(["id", path]), strict=True):
        for label_id in [labels] if isinstance(labels, str) else labels or ():
            yield sample_id, label_id


def select_all_slices(samples: Any) -> Any:
    """Returns the samples of all slices, if the collection has groups."""
    if samples.media_type == "group":
        return samples.select_group_slices(_allow_mixed=True)
    return samples
