"""Notes how an index differed from its dataset, so that later only what is new is compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from bson import ObjectId

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import FiftyOneRedisError
from fiftyone_redis.similarity import id_sets
from fiftyone_redis.similarity.comparison import Difference, difference

CLOCK_SKEW = timedelta(seconds=10)
"""How much the clocks of the machines that write to a dataset may differ."""

_SYNCED, _COMPARED = "", ":compared"  # endings of the names under which moments are noted
_FEW = 10_000  # samples; all their ids are compared in a moment
_MANY = 200_000  # samples; to compare all their ids takes a second or more
_MOST_NOTED = 1_000  # ids that are missing or gone
_MOST_NEW = 100_000  # samples; to compare all ids takes no longer than to ask for each of these


@dataclass(frozen=True)
class _Moment:
    """A moment at which it was known what is missing and gone.

    Args:
        at: when it was
        samples: how many samples there are that had been created before
        indexed: how many vectors the index has but for those of later samples
        missing: the ids of the samples without a vector
        gone: the ids of the vectors without a sample
    """

    at: datetime
    samples: int
    indexed: int
    missing: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def find_difference(index: Any) -> Difference:
    """Finds what :func:`difference` does, but compares only new samples if the others are known.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    opened = index.find_index()
    if opened is None or not _is_noted(index):
        return difference(index)
    noted = _read_moments(index, opened, _SYNCED, _COMPARED)
    last = max(noted, key=lambda moment: moment.at, default=None)
    new = _find_new(index, opened, last) if last else None
    return new or _compare(index, opened, lambda: difference(index))


def note_filled(index: Any, ids: Sequence[str]) -> None:
    """Notes that a new index is in step, if all of its dataset was added to it at once.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        ids: what was added
    """
    if not _is_noted(index):
        return
    with suppress(FiftyOneRedisError):  # then all ids are compared when that is asked for
        opened = index.open_index()
        if _MANY <= _count_samples(index) == len(ids) == len(opened):
            _compare(index, opened, lambda: difference(index, [ids]))


def note_sync(index: Any, began: datetime) -> None:
    """Notes that a sync has left an index in step, and looked at all that was modified before.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        began: when the sync began
    """
    opened = index.find_index() if _is_noted(index) else None
    if opened is None:
        return
    moment, _, _ = _look(index, opened, began)
    if moment.indexed >= moment.samples:  # else vectors were removed meanwhile
        _write(index, opened, moment, _SYNCED)


def read_last_sync(index: Any) -> datetime | None:
    """Returns when the last sync of an index began; None if that is not noted."""
    opened = index.find_index() if _is_noted(index) else None
    found = [] if opened is None else _read_moments(index, opened, _SYNCED)
    return found[0].at if found else None


def _compare(index: Any, opened: VectorIndex, compare: Callable[[], Difference]) -> Difference:
    """Compares all ids, and notes what is found, with the counts that there were before."""
    if _count_samples(index) < _FEW:
        return compare()
    before, _, _ = _look(index, opened, datetime.now(timezone.utc))
    found = compare()
    if len(found.missing) + len(found.gone) <= _MOST_NOTED:
        moment = replace(before, missing=(*found.missing,), gone=(*found.gone,))
        with suppress(FiftyOneRedisError):  # this user may only read
            _write(index, opened, moment, _COMPARED)
    return found


def _find_new(index: Any, opened: VectorIndex, last: _Moment) -> Difference | None:
    """Finds what is missing now, if that of a moment is still missing, and what was there is there.

    Returns:
        the difference; None if anything else has changed than that samples were created, or if
        these are many, so that all ids are to be compared
    """
    now, ids, there = _look(index, opened, last.at)
    if now != replace(last, missing=(), gone=()) or len(ids) > _MOST_NEW:
        return None
    if opened.existing([*last.missing, *last.gone]) != {*last.gone}:
        return None
    if _count_samples(index, last.missing) < len(last.missing):
        return None
    missing = [*dict.fromkeys([*last.missing, *(id for id in ids if id not in there)])]
    return Difference(missing, missing, [*last.gone], now.indexed + len(there))


def _look(index: Any, opened: VectorIndex, at: datetime) -> tuple[_Moment, list[str], set[str]]:
    """Counts what is left of a moment.

    Returns:
        the samples and vectors that were there then and are there now; the ids of the samples that
        were created since; and those of them that are in the index
    """
    created = {"$match": {"created_at": {"$gte": at - CLOCK_SKEW}}}
    collection = index.samples._sample_collection
    ids = id_sets.to_ids(id_sets.read_collection_ids(collection, [created]))
    there = opened.existing(ids)
    moment = _Moment(at, _count_samples(index) - len(ids), len(opened) - len(there))
    return moment, ids, there


def _count_samples(index: Any, ids: Sequence[str] | None = None) -> int:
    """Counts all samples of a dataset, or those of some ids."""
    collection = index.samples._sample_collection
    count: int = (
        collection.estimated_document_count()
        if ids is None
        else collection.count_documents({"_id": {"$in": [ObjectId(id) for id in ids]}})
    )
    return count


def _is_noted(index: Any) -> bool:
    """Returns whether moments are noted: for a saved run of all samples of a dataset."""
    is_whole = index.samples is index.samples._root_dataset
    return is_whole and index.config.patches_field is None and index.key is not None


def _write(index: Any, opened: VectorIndex, moment: _Moment, kind: str) -> None:
    value = json.dumps({**asdict(moment), "at": moment.at.timestamp()})
    opened.client.execute("HSET", _name_key(index), f"{index.samples._doc.id}{kind}", value)


def _read_moments(index: Any, opened: VectorIndex, *kinds: str) -> list[_Moment]:
    fields = [f"{index.samples._doc.id}{kind}" for kind in kinds]
    noted = opened.client.execute("HMGET", _name_key(index), *fields)
    found = [json.loads(each) for each in noted if each is not None]
    return [_read_moment(**one) for one in found]


def _read_moment(
    at: float, samples: int, indexed: int, missing: Sequence[str] = (), gone: Sequence[str] = ()
) -> _Moment:
    since = datetime.fromtimestamp(at, timezone.utc)
    return _Moment(since, samples, indexed, tuple(missing), tuple(gone))


def _name_key(index: Any) -> str:
    return commands.sync_key(index.config.index_name)
