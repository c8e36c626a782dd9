"""Sets of FiftyOne's ids in numpy: 12 bytes each, so those of a million samples take 12 MB."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

IdSet = npt.NDArray[np.bytes_]
"""Sorted ids, each once, as 12 bytes."""

_SIZE = 12

# BSON of a document: its length in 4 bytes; for each value a type, its name, NUL and the value; an
# end. An array is a document whose names are "0", "1", and so on. https://bsonspec.org/spec.html
_PAIR, _LABEL, _OWNER = 37, 9, 24  # {_id, s}: the bytes of a row, and where the ids begin
_ARRAY = 20  # {_id, a}: where the array begins, after _id as a double
_LENGTH = struct.Struct("<i")

# MongoDB makes arrays of ids in half the time that it takes to make a document of each. An array
# has room for 700,000, since no document is larger than 16 MB.
_ARRAYS = 256


def read_sample_ids(samples: Any, *stages: dict[str, Any]) -> IdSet:
    """Reads the ids of all samples of a collection, without making an object of each.

    Args:
        samples: a :class:`fiftyone.core.collections.SampleCollection` of samples
        *stages: more stages of MongoDB's aggregation
    """
    return read_collection_ids(samples._dataset._sample_collection, [*samples._pipeline(), *stages])


def read_collection_ids(collection: Any, stages: Sequence[dict[str, Any]]) -> IdSet:
    """Reads the ids of all documents that stages of MongoDB's aggregation find."""
    # All ids are read from their index, which is smaller than the documents.
    hint = {} if stages else {"hint": "_id_"}
    number = {"$floor": {"$multiply": [{"$rand": {}}, _ARRAYS]}}
    into_arrays = {"$group": {"_id": number, "a": {"$push": "$_id"}}}
    batches = collection.aggregate_raw_batches([*stages, into_arrays], allowDiskUse=True, **hint)
    arrays = (array for batch in batches for array in _find_arrays(batch))
    return _make_set(b"".join(ids for array in arrays for ids in _read_array(array)))


def _find_arrays(batch: bytes) -> Iterator[memoryview]:
    """Yields the values of the arrays in documents of a number and an array."""
    documents = memoryview(batch)
    while documents:
        [size] = _LENGTH.unpack_from(documents)
        yield documents[_ARRAY + _LENGTH.size : size - 2]  # without the ends of both
        documents = documents[size:]


def _read_array(array: memoryview) -> Iterator[bytes]:
    """Yields the ids of an array, all whose names have the same number of digits together."""
    digits, count = 1, 10
    while array:
        size = 2 + digits + _SIZE
        rows, array = array[: count * size], array[count * size :]
        yield np.frombuffer(rows, np.uint8).reshape(-1, size)[:, -_SIZE:].tobytes()
        digits, count = digits + 1, 9 * 10**digits


def read_label_ids(samples: Any, path: str) -> tuple[IdSet, IdSet]:
    """Reads the ids of all labels of a field, without making an object of each.

    Args:
        samples: a :class:`fiftyone.core.collections.SampleCollection` of samples
        path: the field of the labels, or of the list of them

    Returns:
        the ids of the labels, and the id of the sample of each
    """
    stages: list[dict[str, Any]] = [
        {"$project": {"label": f"${path}._id"}},
        {"$unwind": "$label"},
        {"$project": {"_id": "$label", "s": "$_id"}},
    ]
    pipeline = [*samples._pipeline(), *stages]
    rows = _read_rows(samples._dataset._sample_collection, pipeline, _PAIR)
    labels = np.frombuffer(rows[:, _LABEL : _LABEL + _SIZE].tobytes(), f"S{_SIZE}")
    owners = np.frombuffer(rows[:, _OWNER : _OWNER + _SIZE].tobytes(), f"S{_SIZE}")
    unique, first = np.unique(labels, return_index=True)
    return unique, owners[first]


def _read_rows(collection: Any, pipeline: list[dict[str, Any]], size: int) -> npt.NDArray[np.uint8]:
    batches = collection.aggregate_raw_batches(pipeline, allowDiskUse=True)
    blocks = [np.frombuffer(raw, np.uint8) for raw in batches]
    return np.concatenate([np.zeros(0, np.uint8), *blocks]).reshape(-1, size)


def from_pages(pages: Iterable[Sequence[str]]) -> tuple[IdSet, list[str]]:
    """Collects pages of ids.

    Returns:
        the ids, and those that are not FiftyOne's
    """
    blocks: list[bytes] = []
    others: list[str] = []
    for page in pages:
        block = _pack_page(page)
        if block is None:
            good = [id for id in page if _pack_page([id]) is not None]
            others += set(page).difference(good)
            block = _pack_page(good) or b""
        blocks.append(block)
    return _make_set(b"".join(blocks)), sorted(set(others))


def _pack_page(ids: Sequence[str]) -> bytes | None:
    """Returns ids as bytes; None if some are not FiftyOne's."""
    text = "".join(ids)
    if not {*map(len, ids)} <= {2 * _SIZE} or text != text.lower():
        return None
    try:
        block = bytes.fromhex(text)
    except ValueError:
        return None
    return block if len(block) == _SIZE * len(ids) else None  # it passes over spaces


def to_array(ids: Sequence[str]) -> IdSet:
    """Returns FiftyOne's ids as an array, in their order."""
    return np.frombuffer(bytes.fromhex("".join(ids)), f"S{_SIZE}")


def to_ids(found: IdSet) -> list[str]:
    """Returns ids as text."""
    text = found.tobytes().hex()
    return [text[at : at + 2 * _SIZE] for at in range(0, len(text), 2 * _SIZE)]


def find_missing(ids: IdSet, others: IdSet) -> npt.NDArray[np.bool_]:
    """Returns for each id whether the others lack it."""
    if not len(others):
        return np.ones(len(ids), np.bool_)
    rows = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    missing: npt.NDArray[np.bool_] = others[rows] != ids
    return missing


def _make_set(packed: bytes) -> IdSet:
    # np.unique() takes several times as long for a million ids.
    ids = np.sort(np.frombuffer(packed, f"S{_SIZE}"))
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = ids[1:] != ids[:-1]
    return ids[is_first]
