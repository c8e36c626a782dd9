"""Adds vectors to an index that others may change meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy.typing as npt

from fiftyone_redis.engine.documents import attribute_values, eviction
from fiftyone_redis.engine.documents.documents import AttributeReader, Documents
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.lifecycle.definition import Definition
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors import checks
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import IndexNotFoundError, InputError, format_count

_BYTES_AT_ONCE = 1 << 26  # of vectors, between two looks at what others do to the index


def add(
    definition: Definition,
    ids: Sequence[str],
    vectors: npt.ArrayLike,
    tags: Mapping[str, Sequence[str]],
    progress: Progress | None,
    attributes: AttributeReader | None,
) -> None:
    """Adds vectors; see :meth:`VectorIndex.add`.

    They are written in parts, and a part is written again if others rebuilt the index meanwhile.
    All of them are checked against the definition that they are written for, before the first is.
    """
    matrix = checks.as_matrix(vectors)
    size = max(1, _BYTES_AT_ONCE // max(1, matrix[:1].nbytes))
    parts = [slice(start, start + size) for start in range(0, max(1, len(matrix)), size)]
    evicts = eviction.warn_if_evicting(definition.client)
    upload = _Upload(ids, matrix, tags, progress, attributes)
    lacking = parts
    while lacking:
        before = definition.identity
        for rows in lacking:
            upload.write_part(definition, rows)
        if len(parts) == 1 or definition.identity[: len(before)] == before:
            break
        # It may be a new index, which lacks what the one before it had.
        there = definition.read(lambda documents: documents.find_existing(ids))
        lacking = [rows for rows in parts if not there.issuperset(ids[rows])]
    if evicts:
        eviction.refuse_lost(definition.documents, ids)


class _Upload:
    """Vectors on their way to an index; see :func:`add`."""

    def __init__(
        self,
        ids: Sequence[str],
        matrix: Array,
        tags: Mapping[str, Sequence[str]],
        progress: Progress | None,
        attributes: AttributeReader | None,
    ) -> None:
        self._ids = ids
        self._matrix = matrix
        self._tags = tags
        self._progress = progress
        self._attributes = attributes
        self._checked: Schema | None = None
        self._written: Documents | None = None  # where the last attempt at a part went

    def write_part(self, definition: Definition, rows: slice) -> None:
        """Writes some of the vectors, again and again if others change the index meanwhile."""
        try:
            definition.write(partial(self._write, rows=rows))
            self._written = None
        except InputError as error:
            if self._written is None:
                raise
            taken = slice(0, rows.stop)
            self._written.take_back(self._ids[taken], self._matrix[taken])
            raise InputError(
                f"{error} Another process changed the index while vectors were added; those that "
                "were written already are deleted again."
            ) from error
        except IndexNotFoundError as error:
            if self._checked is None:
                raise
            written = min(rows.stop, len(self._ids))
            raise IndexNotFoundError(
                f"{error} It was dropped while vectors were added: up to "
                f"{format_count(written, 'document')} stayed behind without an index. Create the "
                "index again, which takes them over, or call cleanup() to delete them."
            ) from error

    def _write(self, documents: Documents, rows: slice) -> None:
        ids, schema = self._ids, documents.schema
        if schema != self._checked:
            checks.check_ids(ids, len(self._matrix), self._tags, schema)
            checks.check_vectors(checks.as_matrix(self._matrix, schema.dim), schema, ids)
            self._checked = schema
        if self._written is not None and self._written.schema != schema:
            self._written.withdraw(ids[rows], schema)
        self._written = documents
        tags = {tag: values[rows] for tag, values in self._tags.items()}
        for count in attribute_values.write(
            documents, ids[rows], self._matrix[rows], tags, self._attributes
        ):
            if self._progress is not None:
                self._progress(count)
