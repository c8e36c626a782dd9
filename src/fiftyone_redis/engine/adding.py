"""Adds vectors to an index that others may change meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy.typing as npt

from fiftyone_redis.engine import attribute_values, codec, eviction
from fiftyone_redis.engine.definition import Definition
from fiftyone_redis.engine.documents import AttributeReader, Documents
from fiftyone_redis.engine.reading import Progress
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import IndexNotFoundError

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
    checked: Schema | None = None
    matrix = codec.as_matrix(vectors)
    size = max(1, _BYTES_AT_ONCE // max(1, matrix[:1].nbytes))
    evicts = eviction.warn_if_evicting(definition.client)

    def write_part(documents: Documents, rows: slice) -> None:
        nonlocal checked
        schema = documents.schema
        if schema != checked:
            codec.check_ids(ids, len(matrix), tags, schema)
            codec.check_vectors(codec.as_matrix(matrix, schema.dim), schema, ids)
            checked = schema
        part = {tag: values[rows] for tag, values in tags.items()}
        for count in attribute_values.write(documents, ids[rows], matrix[rows], part, attributes):
            if progress is not None:
                progress(count)

    for start in range(0, max(1, len(matrix)), size):
        rows = slice(start, start + size)
        try:
            definition.write(partial(write_part, rows=rows))
        except IndexNotFoundError as error:
            if checked is None:
                raise
            written = min(rows.stop, len(ids))
            raise IndexNotFoundError(
                f"{error} It was dropped while vectors were added: up to {written} documents were "
                "written that no index holds. Create the index again, which takes them over, or "
                "call cleanup() to delete them."
            ) from error
    if evicts:
        eviction.refuse_lost(definition.documents, ids)
