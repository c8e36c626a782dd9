"""The current view of a similarity index: its ids, embeddings and slices."""

from __future__ import annotations

import weakref
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId
from fiftyone.core.media import GROUP

from fiftyone_redis.engine import VectorIndex, Vectors
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.errors import IncompleteResultError, IndexNotFoundError, format_count
from fiftyone_redis.similarity.ids import id_array, strings
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.run_index import RunIndex
from fiftyone_redis.similarity.thread_views import PerThread, ThreadViews
from fiftyone_redis.similarity.view_subset import ViewSubset

_FEW = 100  # samples that tell which slices an array is from


class CurrentView(ThreadViews, RunIndex):
    """The part of a similarity index that tells what is in the current view."""

    # A class attribute, since FiftyOne's constructor reads it before ours can set it.
    _id_columns: tuple[Any, Any] | None = None
    _some_slices: tuple[list[Hit], set[str]] | None = None
    _points = PerThread()
    _read = PerThread()

    @property
    def sample_ids(self) -> Any:
        """The sample ids of the whole index, sorted by id; one per patch in an index of patches."""
        return self._indexed_ids()[0]

    @property
    def label_ids(self) -> Any:
        """The sorted label ids of the whole index; None in an index of samples."""
        return self._indexed_ids()[1]

    def use_view(self, samples: Any, allow_missing: bool = True, warn_missing: bool = False) -> Any:
        """Restricts the index to a view, for the calling thread; others keep their own views.

        See :meth:`fiftyone.brain.similarity.SimilarityIndex.use_view`.
        """
        self._clear_cache()
        super().use_view(samples, allow_missing=allow_missing, warn_missing=warn_missing)
        return self

    def _indexed_ids(self) -> tuple[Any, Any]:
        """Returns the sample and label ids of the whole index, sorted, cached until a reload."""
        columns = self._id_columns
        if columns is None:
            try:
                index = self._open_index()
                ids = index.ids()
                samples = index.tags(ids)[self._sample_tag] if self.config.patches_field else ids
            except IndexNotFoundError:
                if not self.was_never_filled():
                    raise
                ids = samples = []
            labels = id_array(ids) if self.config.patches_field else None
            self._id_columns = columns = id_array(samples), labels
        return columns

    def _apply_view(self) -> None:
        super()._apply_view()
        subset = self._subset()
        if self.has_view or subset is None:
            return
        # FiftyOne takes the whole index; some of it may not be in the dataset any more.
        owners = subset.read_owners()
        ids, samples = strings(self._current_ids()), strings(self._curr_sample_ids)
        rows = [row for row, id in enumerate(ids) if id in owners]
        if len(rows) < len(ids):
            self._curr_keep_inds = np.array(rows, dtype=int)
        self._curr_sample_ids = id_array([owners[ids[row]] or samples[row] for row in rows])
        if self.config.patches_field is not None:
            self._curr_label_ids = id_array([ids[row] for row in rows])

    def _current_ids(self) -> Any:
        patches = self.config.patches_field is not None
        return self.current_label_ids if patches else self.current_sample_ids

    def _current_points(self, progress: Any = None) -> Any:
        """Returns the embeddings of the current ids, in their order.

        They are cached, but read again if others have rebuilt the index.
        """
        index = self._open_current_index()
        known = self._points
        if known is None or known[0] != index.schema.server_name:
            ids = strings(self._current_ids())
            with progress_bar(len(ids), progress, "Reading") as bar:
                found = index.fetch(ids, progress=bar.update)
            removed = len(ids) - len(found.ids)
            if removed:
                raise IncompleteResultError(
                    f"Another process or thread removed {format_count(removed, 'embedding')} from "
                    "the index while it was read; call reload() and try again."
                )
            self._points = known = index.schema.server_name, found.vectors
        return known[1]

    def _open_current_index(self) -> VectorIndex:
        """Returns the index with its definition as the server has it now."""
        index: VectorIndex = self._open_index()
        index.existing([])  # reads the definition again if others have changed it
        return index

    def _clear_cache(self) -> None:
        """Clears cached ids and points, since the index or the view may have changed."""
        self._id_columns = None
        self._points = None

    def _subset(self) -> ViewSubset | None:
        """Returns the current view; None for all frames if FiftyOne has made their dataset anew."""
        if not self.has_view and self.view._dataset.deleted:
            return None
        return ViewSubset(self.view, self.config.patches_field, self._sample_tag)

    def _is_grouped_dataset(self) -> bool:
        """Returns whether the current view is a grouped dataset, which shows one of its slices.

        A view that only chooses another slice equals the dataset, so FiftyOne does not set it.
        """
        return isinstance(self.view, fo.Dataset) and self.view.media_type == GROUP

    def _find_some_slices(self, index: VectorIndex) -> set[str]:
        """Returns the slices that a few documents of the index are in, drawn in the last minute."""
        some = index.sample()
        known = self._some_slices
        if known is None or known[0] is not some:
            self._some_slices = known = some, set(self._slices().count_slices(some))
        return known[1]

    def _note_slices(self, read: Vectors) -> Any:
        """Returns embeddings that were read, and notes which slices of a grouped dataset they are.

        FiftyOne's compute_uniqueness() reads the embeddings of some slices, which need not be the
        active one, and searches for the array a few rows at a time without setting a view.
        """
        self._read = None
        some = read.ids[:: -(-len(read.ids) // _FEW) or 1]
        some = [id for id in some if ObjectId.is_valid(id)]  # an index of others may hold any ids
        if some and self._is_grouped_dataset():
            samples = self.view.select_group_slices(_allow_mixed=True).select(some)
            subset = self._slices(*samples.distinct(f"{self.view.group_field}.name"))
            whole = read.vectors if read.vectors.base is None else read.vectors.base
            self._read = weakref.ref(whole), subset
        return read.vectors

    def _subset_of(self, query: Any) -> ViewSubset | None:
        """Returns what to search for rows: the slices they were read from, or the current view."""
        if self._read is not None and query.base is not None and self._is_grouped_dataset():
            whole, subset = self._read
            if query.base is whole():
                return subset  # type: ignore[no-any-return]
        return self._subset()

    def _slices(self, *names: str) -> ViewSubset:
        """Returns some slices of a grouped dataset, or all of them."""
        slices = self.view.select_group_slices(list(names) or None, _allow_mixed=True)
        return ViewSubset(slices, self.config.patches_field, self._sample_tag)
