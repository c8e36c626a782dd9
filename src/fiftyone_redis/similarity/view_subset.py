"""Which ids a FiftyOne view contains: samples, frames, group slices, patches."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId
from bson.errors import InvalidId

from fiftyone_redis.engine.planner import MembershipCost
from fiftyone_redis.engine.replies import Hit

SAMPLE_ID = "sample_id"
"""FiftyOne's name for the sample id of a patch; also the name of the tag that holds it."""

_MOST_TOGETHER = 500_000  # ids that fit into one MongoDB document (16 MB)


class ViewSubset:
    """A view as a subset of an index; see :class:`~fiftyone_redis.engine.subset_search.Subset`.

    The view's ids are read from MongoDB only if they are few. Otherwise MongoDB is asked which
    candidates are in the view, which takes the same time for a view of any size.

    Args:
        view: a :class:`fiftyone.core.collections.SampleCollection`
        patches_field: the field whose patches are indexed; None for an index of samples
        sample_tag: the tag that holds the sample id of a patch
    """

    cost = MembershipCost(per_id_read=1.4, per_id_checked=6.5, per_query=600.0, per_document=0.36)
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
        self._field = f"_{self._path}"  # in MongoDB

    def ids(self) -> list[str]:
        """Returns all ids, each once."""
        if not self._labels:
            together = {"$group": {"_id": None, "ids": {"$push": f"${self._field}"}}}
            answer = next(self._aggregate({"$limit": _MOST_TOGETHER}, together), None)
            found = answer["ids"] if answer else []
            if len(found) < _MOST_TOGETHER:
                return list(dict.fromkeys(map(str, found)))
        return list(dict.fromkeys(_flatten(self._view.values(self._path))))

    def find_members(self, hits: list[Hit]) -> set[str]:
        """Returns the ids of the hits that are in the view."""
        ids = {hit.id for hit in hits}
        if self._labels:
            samples = _object_ids({hit.tags.get(self._sample_tag, "") for hit in hits})
            return ids.intersection(_flatten(self._view.select(samples).values(self._path)))
        match = {"$match": {self._field: {"$in": _object_ids(ids)}}}
        found = self._aggregate(match, {"$project": {self._field: True}})
        return {str(document[self._field]) for document in found}

    def _aggregate(self, *stages: dict[str, Any]) -> Any:
        """Queries MongoDB directly; values() copies the view and takes twice as long."""
        return foo.aggregate(self._view._dataset._sample_collection, [*self._pipeline, *stages])

    @cached_property
    def _pipeline(self) -> list[dict[str, Any]]:
        pipeline: list[dict[str, Any]] = self._view._pipeline()
        return pipeline


def _object_ids(ids: Iterable[str]) -> list[ObjectId]:
    """Returns the valid FiftyOne ids; an index made by others may hold other ids too."""
    valid = []
    for id in ids:
        with suppress(InvalidId):
            valid.append(ObjectId(id))
    return valid


def _flatten(values: Iterable[Any]) -> Iterable[str]:
    """Yields the ids of a field that holds one, none, or a list of them."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from value
