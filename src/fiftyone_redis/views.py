"""Which ids a FiftyOne view allows: of samples, frames, groups' slices, patches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bson import ObjectId

from fiftyone_redis.engine.planner import Learning
from fiftyone_redis.engine.replies import Hit

SAMPLE_ID = "sample_id"
"""FiftyOne's name for the id of a patch's sample; also the tag of its document that holds it."""


class ViewSubset:
    """A view as a subset of an index; see :class:`~fiftyone_redis.engine.restricted.Subset`.

    MongoDB is asked for the view's ids only when they are few. Else it is asked which documents of
    some are in the view, which takes the same time however large the view is.

    Args:
        view: a :class:`fiftyone.core.collections.SampleCollection`
        patches_field: the field whose patches are indexed; None for an index of samples
        sample_tag: the tag of a patch's document that holds the id of its sample
    """

    learning = Learning(id=7.0, question=2500.0, document=0.4)
    count: int | None = None

    def __init__(self, view: Any, patches_field: str | None, sample_tag: str = SAMPLE_ID) -> None:
        self._view = view
        self._sample_tag = sample_tag
        self._labels = patches_field is not None and not view._is_patches
        if self._labels:
            _, self._path = view._get_label_field_path(patches_field, "id")
        else:
            of_patches = patches_field is None and view._is_patches
            self._path = SAMPLE_ID if of_patches else "id"

    def ids(self) -> list[str]:
        """Returns all ids, each once."""
        return list(dict.fromkeys(_flat(self._view.values(self._path))))

    def kept(self, hits: list[Hit]) -> set[str]:
        """Returns the ids of those documents that are in the view."""
        ids = {hit.id for hit in hits}
        return ids.intersection(_flat(self._narrowed(hits, list(ids)).values(self._path)))

    def _narrowed(self, hits: list[Hit], ids: list[str]) -> Any:
        """Returns the part of the view in which MongoDB finds these documents by an index."""
        ids = [id for id in ids if ObjectId.is_valid(id)]  # others may index other things, too
        if self._labels:
            samples = {hit.tags.get(self._sample_tag, "") for hit in hits}
            return self._view.select([id for id in samples if ObjectId.is_valid(id)])
        if self._path == SAMPLE_ID:
            return self._view.select_by(SAMPLE_ID, ids)
        return self._view.select(ids)


def _flat(values: Iterable[Any]) -> Iterable[str]:
    """Yields the ids of a field that holds one, none, or a list of them."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from value
