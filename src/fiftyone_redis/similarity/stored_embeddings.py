"""Reads, removes and updates what is in the index of a run, by sample or label ids."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.current_view import CurrentView
from fiftyone_redis.similarity.ids import id_array, report_missing, strings
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.sharing import separate


class EmbeddingsMixin(CurrentView):
    """The part of a similarity index that reads, removes and updates embeddings."""

    def remove_from_index(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
        reload: bool = True,
    ) -> None:
        """Removes embeddings from the index.

        Args:
            sample_ids (None): an array of sample IDs; in a patch index, all of their patches
            label_ids (None): an array of label IDs, if applicable; takes precedence over sample IDs
            allow_missing (True): whether to raise an error (False) when an ID is not in the index
            warn_missing (False): whether to log a warning if an ID is not in the index
            reload (True): whether to call :meth:`reload` after the update

        Raises:
            InputError: if IDs are missing and ``allow_missing`` is False; nothing is removed
            FiftyOneRedisError: if there is no index, or the server refuses
        """
        separate(self)
        index = self._open_index()
        if sample_ids is None and label_ids is None:
            raise InputError("There are no ids to remove; provide sample_ids or label_ids.")
        ids = self._ids(index, sample_ids, label_ids, allow_missing, warn_missing)
        if not allow_missing or warn_missing:
            report_missing(ids, index.existing(ids), allow_missing, warn_missing)
        index.remove(ids)
        self._clear_cache()
        if reload:
            self.reload()

    def get_embeddings(
        self,
        sample_ids: Any = None,
        label_ids: Any = None,
        allow_missing: bool = True,
        warn_missing: bool = False,
        progress: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Returns embeddings; all of them if no IDs are provided.

        Args:
            sample_ids (None): a sample ID or list of sample IDs
            label_ids (None): a label ID or list of label IDs; takes precedence over sample IDs
            allow_missing (True): whether to raise an error (False) when an ID is not in the index
            warn_missing (False): whether to log a warning if an ID is not in the index
            progress (None): whether to render a progress bar (True/False), use the default value
                ``fiftyone.config.show_progress_bars`` (None), or a progress callback function

        Returns:
            a tuple of:

            -   a ``num_embeddings x num_dims`` array of embeddings
            -   a ``num_embeddings`` array of sample IDs
            -   a ``num_embeddings`` array of label IDs, if applicable, or else ``None``

        Raises:
            InputError: if IDs are missing and ``allow_missing`` is False
            FiftyOneRedisError: if there is no index, or the server cannot be read
        """
        index = self._open_index()
        if sample_ids is None and label_ids is None:
            ids, allow_missing, warn_missing = index.ids(), True, False
        else:
            ids = self._ids(index, sample_ids, label_ids, allow_missing, warn_missing)
        with progress_bar(len(ids), progress, "Reading") as bar:
            found = index.fetch(ids, bar.update)
        report_missing(ids, found.ids, allow_missing, warn_missing)
        if self.config.patches_field is None:
            return self._note_slices(found), id_array(found.ids), None
        return found.vectors, id_array(found.tags[self._sample_tag]), id_array(found.ids)

    def update_attributes(
        self, sample_ids: Any = None, label_ids: Any = None, progress: Any = None
    ) -> int:
        """Updates the fields stored beside the vectors from the dataset.

        Only documents whose fields differ are written.

        Args:
            sample_ids (None): a sample ID or list of sample IDs; in a patch index, all of their
                patches. If no IDs are provided, the whole index is updated
            label_ids (None): a label ID or list of label IDs; takes precedence over sample IDs
            progress (None): whether to render a progress bar (True/False), use the default value
                ``fiftyone.config.show_progress_bars`` (None), or a progress callback function

        Returns:
            the number of documents that were changed; 0 if the run stores no fields

        Raises:
            FiftyOneRedisError: if there is no index, or the server refuses
        """
        read = self._make_field_reader(lambda ids: index.tags(ids)[self._sample_tag])
        if read is None:
            return 0
        separate(self)
        index = self._open_index()
        if sample_ids is None and label_ids is None:
            ids = index.ids()
        else:
            ids = self._ids(index, sample_ids, label_ids, allow_missing=True, warn_missing=False)
        with progress_bar(len(ids), progress, "Updating the fields of") as bar:
            return index.update_attributes(ids, read, bar.update)

    def _ids(
        self,
        index: VectorIndex,
        sample_ids: Any,
        label_ids: Any,
        allow_missing: bool,
        warn_missing: bool,
    ) -> list[str]:
        """Returns the ids of documents, given sample or label IDs."""
        if label_ids is not None:
            if self.config.patches_field is None:
                raise InputError("This is an index of samples; provide sample_ids, not label_ids.")
            return strings(label_ids)
        samples = strings(sample_ids)
        if self.config.patches_field is None:
            return samples
        ids = index.ids_with_tag(self._sample_tag, samples)
        if not allow_missing or warn_missing:
            there = index.tags(ids)[self._sample_tag]
            report_missing(samples, there, allow_missing, warn_missing)
        return ids
