"""Adds embeddings to the index of a run, which is made when the first ones come."""

from __future__ import annotations

import logging
from typing import Any

from fiftyone_redis.engine import Schema, VectorIndex, codec
from fiftyone_redis.errors import IndexMismatchError, InputError, list_first
from fiftyone_redis.similarity.ids import strings
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.run_index import RunIndex

# FiftyOne shows what its own loggers say.
logger = logging.getLogger("fiftyone." + __name__)


class AddingMixin(RunIndex):
    """The part of a similarity index that adds embeddings."""

    def _add(
        self,
        embeddings: Any,
        sample_ids: Any,
        label_ids: Any,
        progress: Any,
        **existing: bool,
    ) -> None:
        if self._unfinished and progress is None:
            # compute_similarity() does not pass its progress on, and False must draw nothing.
            progress = False
        patches = self.config.patches_field is not None
        if patches and label_ids is None:
            raise InputError("This is an index of patches; provide their label_ids.")
        matrix = codec.as_matrix(embeddings)
        ids = strings(label_ids if patches else sample_ids)
        tags = {self._sample_tag: strings(sample_ids)}
        if not ids and not len(matrix):
            return
        index, created = self._open_or_create(matrix.shape[1])
        tags = {tag: values for tag, values in tags.items() if tag in index.schema.tags}
        if not created:
            if self._unfinished:
                _refuse_other_dimension(index.schema, matrix.shape[1])
            rows = _rows_to_add(index, ids, **existing)
            if len(rows) < len(ids):
                matrix, ids = matrix[rows], [ids[row] for row in rows]
                tags = {tag: [values[row] for row in rows] for tag, values in tags.items()}
        sample_of = dict(zip(ids, tags.get(self._sample_tag, ()), strict=False))
        read = self._make_field_reader(lambda ids: [sample_of[id] for id in ids])
        try:
            with progress_bar(len(ids), progress, "Adding") as bar:
                index.add(ids, matrix, tags, bar.update, read, is_current=created)
        except InputError:
            if created:
                index.drop(documents=False)
                self._index = None
            raise


def _refuse_other_dimension(schema: Schema, dim: int) -> None:
    if dim != schema.dim:
        raise IndexMismatchError(
            f"The index {schema.name!r} exists with the dimension {schema.dim}, not {dim}; choose "
            "another index_name."
        )


def _rows_to_add(
    index: VectorIndex, ids: list[str], overwrite: bool, allow_existing: bool, warn_existing: bool
) -> list[int]:
    """Returns which of the ids are to be written, and reports those that exist."""
    everything = list(range(len(ids)))
    if overwrite and allow_existing and not warn_existing:
        return everything
    existing = index.existing(ids)
    if not existing:
        return everything
    named = f"{len(existing)} IDs that already exist in the index ({list_first(sorted(existing))})"
    if not allow_existing:
        raise InputError(f"Found {named}; nothing was added.")
    if warn_existing:
        logger.warning("%s %s", "Overwriting" if overwrite else "Skipping", named)
    return everything if overwrite else [row for row in everything if ids[row] not in existing]
