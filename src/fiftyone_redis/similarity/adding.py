"""Adds embeddings to the index of a run, which is made when the first ones come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.documents.documents import AttributeReader
from fiftyone_redis.engine.vectors import checks, encoding
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    InputError,
    list_first,
)
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity import in_step, orphaned_indexes, registration, sharing
from fiftyone_redis.similarity.ids import strings
from fiftyone_redis.similarity.index_users import find_run_id
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.run_index import RunIndex

logger = get_logger(__name__)


class AddingMixin(RunIndex):
    """The part of a similarity index that adds embeddings."""

    def _add(
        self,
        embeddings: Any,
        sample_ids: Any,
        label_ids: Any,
        progress: Any,
        *existing: bool,
    ) -> None:
        if self._unfinished and progress is None:
            # compute_similarity() does not pass its progress on, and False must draw nothing.
            progress = False
        patches = self.config.patches_field is not None
        if patches and label_ids is None:
            raise InputError("This is an index of patches; provide their label_ids.")
        matrix = checks.as_matrix(embeddings)
        ids = strings(label_ids if patches else sample_ids)
        tags = {self._sample_tag: strings(sample_ids)}
        if not ids and not len(matrix):
            return
        if not self._unfinished:
            sharing.separate(self)
        index, created = self._open_or_create(matrix.shape[1])
        tags = {tag: values for tag, values in tags.items() if tag in index.schema.tags}
        if not created:
            if self._unfinished:
                _refuse_other_dimension(index.schema, matrix.shape[1])
            rows = _rows_to_add(index, ids, *existing)
            if len(rows) < len(ids):
                matrix, ids = matrix[rows], [ids[row] for row in rows]
                tags = {tag: [values[row] for row in rows] for tag, values in tags.items()}
        write = self._write_first if created else self._write
        write(index, ids, matrix, tags, progress)

    def _write_first(self, index: VectorIndex, ids: list[str], *rest: Any) -> None:
        """Writes into an index that was just made; it is dropped if they do not fit."""
        try:
            self._write(index, ids, *rest)
        except InputError:
            index.drop(documents=False)
            self._index, self._is_created = None, False
            raise
        in_step.note_filled(self, ids)

    def _write(
        self,
        index: VectorIndex,
        ids: list[str],
        matrix: encoding.Array,
        tags: Mapping[str, Sequence[str]],
        progress: Any = False,
        read_source: AttributeReader | None = None,
    ) -> None:
        """Writes documents with their stored fields, and what they were embedded from."""
        is_patch = self.config.patches_field is not None
        sample_of = dict(zip(ids, tags[self._sample_tag] if is_patch else ids, strict=True))

        def samples_of(some_ids: Sequence[str]) -> list[str]:
            return [sample_of[id] for id in some_ids]

        readers = [self._make_field_reader(samples_of), self._make_source_reader(samples_of)]
        if readers[1] is not None and read_source is not None:
            readers[1] = read_source
        read = _merge_readers([each for each in readers if each is not None])
        with progress_bar(len(ids), progress, "Adding") as bar:
            index.add(ids, matrix, tags, bar.update, read)

    @contextmanager
    def _registered_unless_it_fails(self) -> Iterator[None]:
        """Registers a run that is being computed; undone if the ``with`` block fails."""
        if not self._unfinished:
            yield
            return
        with ExitStack() as undo:
            undo.callback(self._undo_run)
            self.backend.register_now()
            with registration.hold_run(self._redis, find_run_id(self._dataset_doc, self.key)):
                yield
            undo.pop_all()

    def _undo_run(self) -> None:
        """Deletes the index that a run has made, and the run."""
        # A name that was chosen here is nobody else's, even if making the index was interrupted.
        if self._is_created or self._is_named_here:
            with suppress(FiftyOneRedisError):  # the next run of this key removes it
                orphaned_indexes.drop_index(self._redis, self.config.index_name)
        self._index, self._is_created = None, False
        self.backend.close()
        if find_run_id(self._dataset_doc, self.key) is not None and self.backend.is_registered:
            self.backend.delete_run(self.samples, self.key, cleanup=False)


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
    what = (
        "1 ID that already exists"
        if len(existing) == 1
        else f"{len(existing)} IDs that already exist"
    )
    named = f"{what} in the index ({list_first(sorted(existing))})"
    if not allow_existing:
        raise InputError(f"Found {named}; nothing was added.")
    if warn_existing:
        logger.warning("%s %s", "Overwriting" if overwrite else "Skipping", named)
    return everything if overwrite else [row for row in everything if ids[row] not in existing]


def _merge_readers(readers: Sequence[AttributeReader]) -> AttributeReader | None:
    """Returns a reader of the fields of several readers; None if there are none."""
    if not readers:
        return None
    return lambda ids: {name: values for read in readers for name, values in read(ids).items()}
