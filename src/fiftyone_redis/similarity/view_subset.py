"""Which ids a FiftyOne view contains: samples, frames, group slices, patches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId
from bson.errors import InvalidId

from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.search.planner import MembershipCost
from fiftyone_redis.similarity import id_sets

SAMPLE_ID = "sample_id"
"""FiftyOne's name for the sample id of a patch; also the name of the tag that holds it."""

_MOST_TOGETHER = 500_000  # ids that fit into one MongoDB document (16 MB)


class ViewSubset:
    """A view as a :class:`~fiftyone_redis.engine.search.subset_search.Subset` of an index.

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
        self._in_frames = False
        if self._labels:
            _, self._path = view._get_label_field_path(patches_field, "id")
            _, self._in_frames = view._handle_frame_field(patches_field)
        else:
            of_patches = patches_field is None and view._is_patches
            self._path = SAMPLE_ID if of_patches else "id"
        self._field = f"{self._path.removesuffix('id')}_id" if self._labels else f"_{self._path}"
        # The labels looked up so far, and the sample of each; None if it is not in the view.
        self._owners: dict[str, str | None] = {}

    def ids(self) -> list[str]:
        """Returns all ids, each once."""
        if self._labels:
            return list(self._read_labels())
        together = {"$group": {"_id": None, "ids": {"$push": f"${self._field}"}}}
        answer = next(self._aggregate({"$limit": _MOST_TOGETHER}, together), None)
        found = answer["ids"] if answer else []
        if len(found) < _MOST_TOGETHER:
            return list(dict.fromkeys(map(str, found)))
        if self._field == "_id":
            return id_sets.to_ids(id_sets.read_sample_ids(self._view))
        return list(dict.fromkeys(_flatten(self._view.values(self._path))))

    def find_members(self, hits: Sequence[Hit]) -> set[str]:
        """Returns the ids of the hits that are in the view."""
        if self._labels:
            self._look_up(hits)
            return {hit.id for hit in hits if self._owners[hit.id] is not None}
        match = {"$match": {self._field: {"$in": _object_ids({hit.id for hit in hits})}}}
        found = self._aggregate(match, {"$project": {self._field: True}})
        return {str(document[self._field]) for document in found}

    def has_all(self, hits: Sequence[Hit]) -> bool:
        """Returns whether all hits are in the view; faster than :meth:`find_members`."""
        ids = {hit.id for hit in hits}
        if self._field != "_id" or any("$match" not in stage for stage in self._pipeline):
            return len(self.find_members(hits)) == len(ids)
        wanted = [{"_id": {"$in": _object_ids(ids)}}]
        query = {"$and": wanted + [stage["$match"] for stage in self._pipeline]}
        name = self._view._dataset._sample_collection_name
        # A third faster than an aggregation.
        answer = foo.get_db_conn().command("count", name, query=query)
        return bool(answer["n"] == len(ids))

    def find_owners(self, hits: Sequence[Hit]) -> dict[str, str]:
        """Returns the id of the sample of each label.

        Labels of a view of samples are looked for in the sample that the index notes for them. A
        label that is not there may have been moved to another one, so all samples of the view are
        searched for it. In a view of patches, the samples that the index notes are returned.
        """
        noted = {hit.id: hit.tags.get(self._sample_tag, "") for hit in hits}
        if not self._labels:
            return noted
        self._look_up(hits)
        return {id: self._owners[id] or sample for id, sample in noted.items()}

    def count_slices(self, hits: Sequence[Hit]) -> Counter[str]:
        """Counts the hits of the view in each slice of a grouped dataset."""
        owners = {hit.id: hit.id for hit in hits}
        if self._labels:
            self._look_up(hits)
            owners = {id: owner for id in owners if (owner := self._owners[id]) is not None}
        name = f"{self._view._root_dataset.group_field}.name"
        match = {"$match": {"_id": {"$in": _object_ids(owners.values())}}}
        found = self._aggregate(match, {"$project": {"slice": f"${name}"}})
        slices = {str(document["_id"]): document["slice"] for document in found}
        return Counter(slices[owner] for owner in owners.values() if owner in slices)

    def read_owners(self) -> dict[str, str | None]:
        """Returns the sample of each label of a view of samples; of other views, ids and None."""
        return dict(self._read_labels()) if self._labels else dict.fromkeys(self.ids())

    def _read_labels(self) -> dict[str, str]:
        samples, labels = self._view.values(["id", self._path])
        found = {
            label: sample
            for sample, value in zip(samples, labels, strict=True)
            for label in _flatten([value])
        }
        self._owners |= found
        return found

    def _look_up(self, hits: Sequence[Hit]) -> None:
        """Finds the samples of labels; see :meth:`find_owners`."""
        hits = [hit for hit in hits if hit.id not in self._owners]
        if not hits:
            return
        asked: dict[str, str | None] = dict.fromkeys(hit.id for hit in hits)
        noted = _object_ids({hit.tags.get(self._sample_tag, "") for hit in hits})
        in_noted_sample = {"$match": {"_id": {"$in": noted}}}
        found = self._find_labels(self._pipeline, in_noted_sample)
        elsewhere = asked.keys() - found.keys()
        if elsewhere:
            # The view leaves out those that are still in the sample noted.
            elsewhere -= self._find_labels(self._base_pipeline, in_noted_sample).keys()
        if elsewhere:
            found |= self._find_labels(
                self._pipeline, {"$match": {self._field: {"$in": _object_ids(elsewhere)}}}
            )
        self._owners |= asked | found

    def _find_labels(self, pipeline: list[dict[str, Any]], match: dict[str, Any]) -> dict[str, str]:
        """Returns the labels of some samples, and the sample of each."""
        project = {"$project": {"labels": f"${self._field}"}}
        found = foo.aggregate(self._view._dataset._sample_collection, [*pipeline, match, project])
        return {
            str(label): str(document["_id"])
            for document in found
            for label in _flatten([document.get("labels")])
        }

    def _aggregate(self, *stages: dict[str, Any]) -> Any:
        """Queries MongoDB directly; values() copies the view and takes twice as long."""
        return foo.aggregate(self._view._dataset._sample_collection, [*self._pipeline, *stages])

    @cached_property
    def _pipeline(self) -> list[dict[str, Any]]:
        pipeline: list[dict[str, Any]] = self._view._pipeline(attach_frames=self._in_frames)
        return pipeline

    @cached_property
    def _base_pipeline(self) -> list[dict[str, Any]]:
        """The pipeline of all samples of the dataset, of all slices if it is grouped."""
        pipeline: list[dict[str, Any]] = self._view._dataset._pipeline(
            attach_frames=self._in_frames, manual_group_select=True
        )
        return pipeline


def _object_ids(ids: Iterable[str]) -> list[ObjectId]:
    """Returns the valid FiftyOne ids; an index made by others may hold other ids too."""
    valid = []
    for id in ids:
        with suppress(InvalidId):
            valid.append(ObjectId(id))
    return valid


def _flatten(values: Iterable[Any]) -> Iterator[Any]:
    """Yields the ids in values that are an id, None, or a list of such values."""
    for value in values:
        if isinstance(value, list):
            yield from _flatten(value)
        elif value is not None:
            yield value
