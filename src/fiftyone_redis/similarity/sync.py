"""Brings an index in step with its dataset: embeds what is new or changed, removes what is gone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import InputError, list_first
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity import id_sets
from fiftyone_redis.similarity.comparison import (
    Difference,
    difference,
    find_changed,
    find_modified,
)
from fiftyone_redis.similarity.embedding import Progress, embed_and_add, require_source
from fiftyone_redis.similarity.progress import bar as progress_bar

logger = get_logger(__name__)

_CLOCK_SKEW = timedelta(seconds=10)  # between the machines that write to the dataset
_UPDATED_TOGETHER = 10_000


@dataclass(frozen=True)
class SyncResult:
    """What a sync did, or would do. The id of a patch is that of its label.

    Args:
        added: the ids of the samples or patches that the index lacked
        changed: the ids of those whose file, box or vector was replaced
        removed: the ids that were in the index and are in no dataset that uses it
        without_vector: the ids among the first two that got no vector, since their field is empty
            or the model failed
        updated: the number of documents whose stored fields were updated
        is_dry_run: whether nothing was done
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    without_vector: list[str] = field(default_factory=list)
    updated: int = 0
    is_dry_run: bool = False

    def __str__(self) -> str:
        words = (
            ("add", "added", len(self.added)),
            ("embed again", "embedded again", len(self.changed)),
            ("remove", "removed", len(self.removed)),
            ("update the stored fields of", "stored fields updated", self.updated),
        )
        if self.is_dry_run:
            parts = [f"{plan} {count:,}" for plan, _, count in words if count]
            return f"Would {', '.join(parts)}." if parts else "Nothing to do."
        parts = [f"{count:,} {done}" for _, done, count in words if count]
        text = f"{', '.join(parts)}." if parts else "Nothing to do."
        if self.without_vector:
            named = list_first([repr(id) for id in self.without_vector])
            text += f" {len(self.without_vector):,} without a vector: {named}."
        return text


def sync(
    index: Any,
    dry_run: bool = False,
    progress: Any = None,
    *,
    removes: bool = True,
    field: str | None = None,
    **options: Any,
) -> SyncResult:
    """Brings an index in step with its dataset; see :meth:`RedisSimilarityIndex.sync`.

    An exception that the progress callback raises ends it after the current batch.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        dry_run (False): whether to only tell what would be done
        progress (None): as for :meth:`RedisSimilarityIndex.sync`
        removes (True): whether to remove what is gone
        field (None): the field that holds the vectors; by default the index's own, or its model
        **options: as for :func:`~fiftyone_redis.similarity.embedding.embed_and_add`
    """
    began = datetime.now(timezone.utc)
    found, changed, modified = _find_work(index)
    if dry_run:
        return SyncResult(found.missing, [*changed], found.gone, is_dry_run=True)
    if found.missing:
        require_source(index, field)  # before anything changes
    removed = found.gone if removes and remove_gone(index, found) else []
    wanted = {**dict(zip(found.missing, found.samples, strict=True)), **changed}
    with progress_bar(len(wanted), progress, "Embedding") as bar:
        without = embed_and_add(index, wanted, field, bar.update, **options)
    updated = _update_stored_fields(index, modified)
    failed = set(without)
    if not failed and len(removed) == len(found.gone):
        _record_sync(index, began)
    added = [id for id in found.missing if id not in failed]
    again = [id for id in changed if id not in failed]
    return SyncResult(added, again, removed, without, updated)


def _find_work(index: Any) -> tuple[Difference, dict[str, str], list[str]]:
    """Finds what a sync has to do.

    Returns:
        what is missing and gone; the samples or patches to embed again, with their samples; and the
        samples that were modified since the last sync
    """
    opened = index.find_index()
    if opened is None and not index.was_never_filled():
        name = index.config.index_name
        logger.warning("The index %r is not on the server any more; it is filled anew", name)
    last = _read_last_sync(index, opened)
    found = _find_difference(index, opened, last)
    # What was modified before the last sync was looked at then.
    since = last.at if last else _started_at(index)
    modified = find_modified(index, since - _CLOCK_SKEW)
    missing = set(found.missing)
    changed = {id: of for id, of in find_changed(index, modified).items() if id not in missing}
    return found, changed, modified


def find_difference(index: Any) -> Difference:
    """Finds what :func:`difference` does, but looks at new samples alone if a sync saw the others.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    opened = index.find_index()
    return _find_difference(index, opened, _read_last_sync(index, opened))


def _find_difference(index: Any, opened: VectorIndex | None, last: _LastSync | None) -> Difference:
    new = _find_new(index, opened, last) if opened is not None and last else None
    return new or difference(index)


def add_missing(
    index: Any,
    found: Difference,
    field: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[str]:
    """Embeds and adds what an index lacks; safe to run again after an interruption.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: the result of :func:`difference`
        field (None): the field of the samples or labels that holds the vectors; by default the
            index's embeddings field, or else its model
        progress (None): called with the number of samples or patches done since the last call
        **options: as for :func:`~fiftyone_redis.similarity.embedding.embed_and_add`

    Returns:
        the ids without a vector: the field is empty, or the model failed

    Raises:
        InputError: if the index has neither a field nor a model, or a vector does not fit
        FiftyOneRedisError: if the server refuses the vectors
    """
    wanted = dict(zip(found.missing, found.samples, strict=True))
    return embed_and_add(index, wanted, field, progress, **options)


def remove_gone(index: Any, found: Difference) -> int:
    """Removes ids that are no longer in the dataset, and returns how many there were.

    Other datasets may use the index too, such as clones; what they have stays.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: the result of :func:`difference`

    Raises:
        InputError: if no id of the index is in the dataset, so that it seems to be the wrong index
        FiftyOneRedisError: if the server refuses
    """
    if not found.gone:
        return 0
    if len(found.gone) == found.indexed and found.missing:
        raise InputError(
            f"No id of the index is in the dataset ({list_first(found.gone)}); it seems to be the "
            "index of another dataset. Nothing was removed. Check the dataset and the brain key."
        )
    gone: list[str] = index.drop_used_elsewhere(found.gone)
    index.remove_unused(gone)
    return len(gone)


@dataclass(frozen=True)
class _LastSync:
    """What was found at the end of the last sync.

    Args:
        at: when it began
        samples: how many samples there were that had been created before
        indexed: how many of them the index had
    """

    at: datetime
    samples: int
    indexed: int


def _find_new(index: Any, opened: VectorIndex, last: _LastSync) -> Difference | None:
    """Finds what is missing among the samples that were created since the last sync.

    Returns:
        the difference; None if samples or vectors were removed since, so that all ids must be
        compared
    """
    count, created = _count_samples(index, last.at)
    ids = id_sets.to_ids(created)
    there = opened.existing(ids)
    indexed = len(opened)
    if (count - len(ids), indexed - len(there)) != (last.samples, last.indexed):
        return None
    missing = [id for id in ids if id not in there]
    return Difference(missing, missing, [], indexed)


def _count_samples(index: Any, since: datetime) -> tuple[int, id_sets.IdSet]:
    """Returns how many samples a dataset has, and the ids of those created since some time."""
    dataset = index.samples._dataset
    created = {"$match": {"created_at": {"$gte": since}}}
    collection = dataset._sample_collection
    rows = id_sets.read_collection_ids(collection, [created])
    return collection.estimated_document_count(), rows


def _is_noted(index: Any) -> bool:
    """Returns whether it is noted what a sync found: of a saved run of all samples of a dataset."""
    is_whole = index.samples is index.samples._root_dataset
    return is_whole and index.config.patches_field is None and index.key is not None


def _started_at(index: Any) -> datetime:
    """Returns when a run was registered."""
    info = index.samples._root_dataset.get_brain_info(index.key) if index.key else None
    stamp: datetime | None = info.timestamp if info is not None else None
    if stamp is None:
        return datetime.now(timezone.utc)
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=timezone.utc)


def _record_sync(index: Any, began: datetime) -> None:
    """Notes what the next sync can rely on."""
    opened = index.find_index() if _is_noted(index) else None
    if opened is None:
        return
    count, created = _count_samples(index, began)
    there = opened.existing(id_sets.to_ids(created))
    indexed = len(opened) - len(there)
    last = _LastSync(began, count - len(created), indexed)
    value = json.dumps({**asdict(last), "at": began.timestamp()})
    opened.client.execute("HSET", *_sync_field(index), value)


def _read_last_sync(index: Any, opened: VectorIndex | None) -> _LastSync | None:
    if opened is None or not _is_noted(index):
        return None
    [found] = opened.client.execute("HMGET", *_sync_field(index))
    if found is None:
        return None
    known = json.loads(found)
    return _LastSync(**{**known, "at": datetime.fromtimestamp(known["at"], timezone.utc)})


def _sync_field(index: Any) -> tuple[str, str]:
    return commands.sync_key(index.config.index_name), str(index.samples._doc.id)


def _update_stored_fields(index: Any, sample_ids: Sequence[str]) -> int:
    if not index.config.stored_fields or index.find_index() is None:
        return 0
    return sum(
        index.update_attributes(sample_ids=sample_ids[start : start + _UPDATED_TOGETHER])
        for start in range(0, len(sample_ids), _UPDATED_TOGETHER)
    )
