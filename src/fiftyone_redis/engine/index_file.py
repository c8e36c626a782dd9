"""The file that holds an exported index, as Parquet or Arrow; written and read in parts.

Each row is a document: its id, its vector and its fields as text. A vector is a list of the values
that the server has, bit by bit; a bfloat16 vector is its bytes, since the formats have no such
type. What the index was is in the metadata. Only this module knows pyarrow, which is optional.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import FiftyOneRedisError, InputError, MissingPackageError

ENDINGS = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Arrow"}
"""How the names of files end, and the format that this means."""

PART_BYTES = 1 << 22
"""The size of a part of a file, in bytes of vectors."""

Columns = Mapping[str, Sequence[str | None]]
Writer = Callable[[Sequence[str], Sequence[bytes], Columns], None]

_KEY = b"fiftyone_redis"
_FORMAT = 1
_OWN_COLUMNS = ("id", "vector")


@dataclass(frozen=True)
class Header:
    """What a file says of the index that it holds.

    Args:
        dim: the dimension of the vectors
        options: the settings of the index, by their names
        fields: the fields of the documents, in the order of the columns
        about: what the caller notes of the index, as JSON can hold it
        export_id: tells the file from others
    """

    dim: int
    options: dict[str, Any]
    fields: list[str]
    about: dict[str, Any]
    export_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def dtype(self) -> str:
        """The type of the vectors' values."""
        return str(self.options["dtype"])

    @property
    def rows_of_part(self) -> int:
        """How many documents a part of the file has."""
        return max(1, PART_BYTES // (DTYPES[self.dtype] * self.dim))


@dataclass(frozen=True)
class Page:
    """Some documents of a file.

    Args:
        ids: ``n`` ids
        vectors: an ``n x dim`` array, decoded
        fields: ``n`` values of each field; None for a missing value
    """

    ids: list[str]
    vectors: Array
    fields: dict[str, list[str | None]]


@dataclass(frozen=True)
class IndexFile:
    """A file that is open for reading.

    Args:
        header: what it says of its index
        count: the number of documents
        read_pages: reads them in parts
    """

    header: Header
    count: int
    read_pages: Callable[[], Iterator[Page]]


@contextmanager
def create_file(path: Path, header: Header) -> Iterator[Writer]:
    """Opens a new file, which takes the place of another one when it is complete.

    Args:
        path: the path of the file, with one of :data:`ENDINGS`
        header: what is said of the index

    Yields:
        a function that writes documents: their ids, vectors as bytes, and fields

    Raises:
        MissingPackageError: if pyarrow is not installed
        InputError: if the name has another ending, or the file cannot be written
    """
    pa = _import_pyarrow()
    schema = _make_schema(pa, header)
    temporary = path.with_name(f".{path.name}.{header.export_id}")
    try:
        with _telling_errors(path, "write"):
            open_writer = _open_parquet_writer if _is_parquet(path) else _open_arrow_writer
            with open_writer(temporary, schema) as writer:

                def write(ids: Sequence[str], blobs: Sequence[bytes], fields: Columns) -> None:
                    columns = [fields[name] for name in header.fields]
                    writer.write_batch(_make_batch(pa, schema, header.dim, ids, blobs, columns))

                yield write
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_file(path: Path) -> Iterator[IndexFile]:
    """Opens a file for reading.

    Raises:
        MissingPackageError: if pyarrow is not installed
        InputError: if there is no such file, or it is not one that was exported
    """
    _import_pyarrow()
    with _telling_errors(path, "read"):
        open_reader = _open_parquet_reader if _is_parquet(path) else _open_arrow_reader
        with open_reader(path) as (schema, count, read_batches):
            header = _read_header(path, schema)

            def read_pages() -> Iterator[Page]:
                for batch in read_batches(header.rows_of_part):
                    yield _read_batch(batch, header)

            yield IndexFile(header, count, read_pages)


def check_path(path: Path) -> None:
    """Raises unless a file of that name can be written, before anything else is done.

    Raises:
        MissingPackageError: if pyarrow is not installed
        InputError: if the name has another ending, or there is no such folder
    """
    _is_parquet(path)
    _import_pyarrow()
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}; create it first.")


def _import_pyarrow() -> Any:
    try:
        import pyarrow  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError(
            'Files of indexes need pyarrow: `pip install "fiftyone-redis[parquet]"`.'
        ) from error
    return pyarrow


def _is_parquet(path: Path) -> bool:
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"The file name must end in {' or '.join(ENDINGS)}, not {path.name!r}.")
    return kind == "Parquet"


@contextmanager
def _telling_errors(path: Path, what: str) -> Iterator[None]:
    import pyarrow  # noqa: PLC0415

    try:
        yield
    except FiftyOneRedisError:
        raise
    except (OSError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise InputError(f"Cannot {what} {path} ({reason}).") from error


@contextmanager
def _open_parquet_writer(path: Path, schema: Any) -> Iterator[Any]:
    from pyarrow import parquet  # noqa: PLC0415

    texts = [name for name in schema.names if name != schema.names[1]]
    with parquet.ParquetWriter(
        path, schema, use_dictionary=texts[1:], write_statistics=texts, compression="snappy"
    ) as writer:
        yield writer


@contextmanager
def _open_arrow_writer(path: Path, schema: Any) -> Iterator[Any]:
    with _import_pyarrow().ipc.new_file(path, schema) as writer:
        yield writer


@contextmanager
def _open_parquet_reader(path: Path) -> Iterator[Any]:
    from pyarrow import parquet  # noqa: PLC0415

    with parquet.ParquetFile(path, pre_buffer=False) as file:
        read = partial(file.iter_batches, use_threads=False)
        yield file.schema_arrow, file.metadata.num_rows, read


@contextmanager
def _open_arrow_reader(path: Path) -> Iterator[Any]:
    pa = _import_pyarrow()
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        batches = range(file.num_record_batches)
        count = sum(file.get_batch(number).num_rows for number in batches)
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as file:
        yield file.schema, count, lambda _: map(file.get_batch, batches)


def _make_schema(pa: Any, header: Header) -> Any:
    """Returns the columns of a file, with the header as its metadata."""
    taken = set(_OWN_COLUMNS)
    names = []
    for name in header.fields:
        while name in taken:
            name += "_"  # noqa: PLW2901
        taken.add(name)
        names.append(name)
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("vector", _vector_type(pa, header), nullable=False),
        *(pa.field(name, pa.string()) for name in names),
    ]
    about = json.dumps({"format": _FORMAT, **vars(header)})
    return pa.schema(columns, {_KEY: about.encode()})


def _vector_type(pa: Any, header: Header) -> Any:
    if header.dtype == "bfloat16":
        return pa.binary(DTYPES[header.dtype] * header.dim)
    return pa.list_(pa.from_numpy_dtype(np.dtype(header.dtype)), header.dim)


def _make_batch(
    pa: Any,
    schema: Any,
    dim: int,
    ids: Sequence[str],
    blobs: Sequence[bytes],
    columns: Sequence[Sequence[str | None]],
) -> Any:
    kind, data = schema.field(1).type, pa.py_buffer(b"".join(blobs))
    if pa.types.is_fixed_size_list(kind):
        values = pa.Array.from_buffers(kind.value_type, len(ids) * dim, [None, data])
        vectors = pa.FixedSizeListArray.from_arrays(values, dim)
    else:
        vectors = pa.Array.from_buffers(kind, len(ids), [None, data])
    try:
        texts = [pa.array(column, pa.string()) for column in (ids, *columns)]
    except UnicodeError as error:
        raise InputError(
            "Some ids or fields are not valid UTF-8, which a file cannot hold; correct them first."
        ) from error
    return pa.record_batch([texts[0], vectors, *texts[1:]], schema)


def _read_header(path: Path, schema: Any) -> Header:
    written = (schema.metadata or {}).get(_KEY)
    if written is None:
        raise InputError(f"{path} was not written by `fiftyone-redis export`.")
    known = json.loads(written)
    if known.pop("format") != _FORMAT:
        raise InputError(f"{path} was written by a newer version; update fiftyone-redis.")
    return Header(**known)


def _read_batch(batch: Any, header: Header) -> Page:
    ids, vectors, *columns = batch.columns
    if header.dtype == "bfloat16":
        data = b"".join(vectors.to_pylist())
    else:
        data = vectors.flatten().to_numpy().tobytes()
    values = encoding.decode([data], header.dtype, header.dim * len(ids))
    fields = {name: column.to_pylist() for name, column in zip(header.fields, columns, strict=True)}
    return Page(ids.to_pylist(), values.reshape(len(ids), header.dim), fields)
