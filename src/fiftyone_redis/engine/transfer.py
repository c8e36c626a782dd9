"""Writes an index into a file, and reads one from a file into an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.documents.reading import Progress
from fiftyone_redis.engine.index_file import Columns, Header, IndexFile, Page, create_file
from fiftyone_redis.engine.lifecycle import adding
from fiftyone_redis.engine.lifecycle.definition import Definition
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.engine.schema.options import OPTIONS
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import InputError

_IMPORT = "import"
"""What is noted beside the times of syncs while a file is imported: the id of the file."""


def write_index(
    index: Definition,
    path: Path,
    about: dict[str, Any],
    more_fields: Sequence[str] = (),
    progress: Progress | None = None,
) -> int:
    """Writes an index into a file, which appears when it is complete.

    Args:
        index: the index
        path: the path of the file, with one of
            :data:`~fiftyone_redis.engine.index_file.ENDINGS`; another file is replaced
        about: what to note of the index, as JSON can hold it
        more_fields: the fields of the documents to write besides the tags and attributes
        progress: called with the number of documents written since the last time

    Returns:
        the number of documents

    Raises:
        MissingPackageError: if pyarrow is not installed
        InputError: if the file cannot be written, or documents cannot be held by it
        IndexChangedError: if others rebuilt the index in the meantime
    """
    schema, count = index.schema, 0
    if read_import(index.client, schema.name) is not None:
        raise InputError(
            f"The index {schema.name!r} is not complete, since an import into it was interrupted; "
            "import the file again first."
        )
    fields = [*schema.tags, *(each.name for each in schema.attributes), *more_fields]
    header = Header(schema.dim, _read_options(schema), fields, about)
    with create_file(path, header) as write:
        for ids, blobs, columns in _read_parts(index, header):
            write(ids, blobs, columns)
            count += len(ids)
            if progress is not None:
                progress(len(ids))
    return count


def _read_options(schema: Schema) -> dict[str, Any]:
    """Returns the settings of an index, by their names."""
    own = (name for name, option in OPTIONS.items() if option.is_of(schema.algorithm))
    return {name: getattr(schema, name) for name in own}


def read_index(index: Definition, file: IndexFile, progress: Progress | None = None) -> int:
    """Adds the documents of a file to an index, which is new, or was being filled from the file.

    It can be called again if it is interrupted: documents that are there are passed over.

    Args:
        index: the index
        file: the file
        progress: called with the number of documents read since the last time

    Returns:
        the number of documents that were added

    Raises:
        InputError: if a document cannot be searched, such as one without a direction under cosine
        FiftyOneRedisError: if the server refuses
    """
    key, added = commands.sync_key(index.schema.name), 0
    index.client.execute("HSET", key, _IMPORT, file.header.export_id)
    for page in file.read_pages():
        there = index.read(partial(Documents.find_existing, ids=page.ids))
        rows = [row for row, id in enumerate(page.ids) if id not in there]
        if rows:
            _add(index, page, rows)
            added += len(rows)
        if progress is not None:
            progress(len(page.ids))
    index.client.execute("HDEL", key, _IMPORT)
    return added


def read_import(client: Client, name: str) -> str | None:
    """Returns the id of the file that an index is being filled from; None if it is complete."""
    [found] = client.execute("HMGET", commands.sync_key(name), _IMPORT)
    return None if found is None else wire.to_text(found)


def _add(index: Definition, page: Page, rows: list[int]) -> None:
    row_of = {page.ids[row]: row for row in rows}
    tags = {
        tag: [page.fields[tag][row] or "" for row in rows]
        for tag in index.schema.tags
        if tag in page.fields
    }
    others = {name: values for name, values in page.fields.items() if name not in tags}

    def read_fields(ids: Sequence[str]) -> Columns:
        return {name: [values[row_of[id]] for id in ids] for name, values in others.items()}

    attributes = read_fields if others else None
    adding.add(index, list(row_of), page.vectors[rows], tags, None, attributes)


def _read_parts(
    index: Definition, header: Header
) -> Iterator[tuple[list[str], list[bytes], Columns]]:
    """Reads all documents, in parts of the size that a file has them."""
    index.read(lambda _: None)  # follows what others have changed
    documents = index.documents
    ids: list[str] = []
    found: list[Sequence[bytes | None]] = []
    wanted = [documents.schema.vector_field, *header.fields]
    for batch, rows in documents.read(documents.list_ids(), wanted):
        kept = [(id, row) for id, row in zip(batch, rows, strict=True) if row[0] is not None]
        ids += [id for id, _ in kept]
        found += [row for _, row in kept]
        while len(ids) >= header.rows_of_part:
            yield _make_part(ids[: header.rows_of_part], found[: header.rows_of_part], header)
            del ids[: header.rows_of_part], found[: header.rows_of_part]
    if ids:
        yield _make_part(ids, found, header)
    index.confirm()


def _make_part(
    ids: list[str], rows: list[Sequence[bytes | None]], header: Header
) -> tuple[list[str], list[bytes], Columns]:
    blobs = [row[0] or b"" for row in rows]
    encoding.check_lengths(blobs, header.dtype, header.dim, ids)
    columns = {
        name: [None if (value := row[column]) is None else wire.to_text(value) for row in rows]
        for column, name in enumerate(header.fields, start=1)
    }
    return ids, blobs, columns
