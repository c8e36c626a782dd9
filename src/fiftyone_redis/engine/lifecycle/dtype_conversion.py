"""Converts vectors to another data type, in a new field, so that the old vectors stay intact."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import chain

from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors import checks, encoding


def new_vector_field(schema: Schema) -> str:
    """Returns the name of a new vector field that no document has yet."""
    return f"{schema.vector_name}_{secrets.token_hex(4)}"


def check_vectors(documents: Documents, wanted: Schema) -> None:
    """Raises unless the vectors of an index fit the data type and metric of a rebuilt one.

    Raises:
        InputError: if some do not; names the first few
    """
    schema = documents.schema
    if wanted.dtype == schema.dtype and (wanted.metric != "cosine" or schema.metric == "cosine"):
        return
    for ids, matrix in _read_vectors(documents):
        checks.check_vectors(matrix, wanted, ids)


def convert_vectors(documents: Documents, wanted: Schema) -> None:
    """Writes converted vectors to the documents that lack the new vector field.

    Documents that are removed meanwhile are not made again, and vectors that somebody else writes
    to the new field are kept.

    Args:
        documents: the documents of the index
        wanted: the schema of the rebuilt index, which need not exist yet
    """
    for ids, matrix in _read_vectors(documents, lacking=wanted.vector_field):
        documents.set_missing(ids, wanted.vector_field, encoding.encode(matrix, wanted.dtype))


def remove_field(documents: Documents, field: str) -> None:
    """Removes a field from all documents of an index."""
    documents.remove_field(documents.list_ids(), field)


def _read_vectors(
    documents: Documents, lacking: str | None = None
) -> Iterator[tuple[list[str], encoding.Array]]:
    """Yields pages of ids and vectors: of all documents, or of those that lack a field."""
    schema, ids = documents.schema, documents.list_ids()
    fields = [schema.vector_field, *([lacking] if lacking else [])]
    # A page is read to its end first: the pool may have one connection only, for writing and for
    # renewing the lease, too.
    pages = (list(documents.read(ids[rows], fields)) for rows in documents.batches(len(ids)))
    for batch, rows in chain.from_iterable(pages):
        kept = [
            (id, row[0])
            for id, row in zip(batch, rows, strict=True)
            if row[0] is not None and (lacking is None or row[1] is None)
        ]
        blobs = [blob for _, blob in kept]
        kept_ids = [id for id, _ in kept]
        yield kept_ids, encoding.decode(blobs, schema.dtype, schema.dim, kept_ids)
