"""Which ids a FiftyOne view allows: of samples, frames, groups' slices, patches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import fiftyone.core.odm as foo
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
        if self._labels:
            samples = _object_ids({hit.tags.get(self._sample_tag, "") for hit in hits})
            inside = self._view.select(samples).values(self._path)
            return {hit.id for hit in hits}.intersection(_flat(inside))
        # What values() would ask for, in half of its time: it copies the view and its schema.
        wanted = _object_ids({hit.id for hit in hits})
        field = "_id" if self._path == "id" else f"_{self._path}"
        narrowed = [{"$match": {field: {"$in": wanted}}}, {"$project": {field: True}}]
        found = foo.aggregate(self._view._dataset._sample_collection, [*self._pipeline, *narrowed])
        return {str(document[field]) for document in found}

    @cached_property
    def _pipeline(self) -> list[dict[str, Any]]:
        pipeline: list[dict[str, Any]] = self._view._pipeline()
        return pipeline


def _object_ids(ids: Iterable[str]) -> list[ObjectId]:
    """Returns those ids that FiftyOne may know: others may index other things, too."""
    return [ObjectId(id) for id in ids if ObjectId.is_valid(id)]


def _flat(values: Iterable[Any]) -> Iterable[str]:
    """Yields the ids of a field that holds one, none, or a list of them."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from value
