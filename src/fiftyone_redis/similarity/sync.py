"""Brings an index in step with its dataset: embeds what is new or changed, removes what is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from fiftyone_redis.errors import InputError, list_first
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity import in_step
from fiftyone_redis.similarity.comparison import (
    Difference,
    find_changed,
    find_modified,
)
from fiftyone_redis.similarity.embedding import Progress, embed_and_add, require_source
from fiftyone_redis.similarity.progress import bar as progress_bar

logger = get_logger(__name__)

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
        in_step.note_sync(index, began)
    added = [id for id in found.missing if id not in failed]
    again = [id for id in changed if id not in failed]
    return SyncResult(added, again, removed, without, updated)


def _find_work(index: Any) -> tuple[Difference, dict[str, str], list[str]]:
    """Finds what a sync has to do.

    Returns:
        what is missing and gone; the samples or patches to embed again, with their samples; and the
        samples that were modified since the last sync
    """
    if index.find_index() is None and not index.was_never_filled():
        name = index.config.index_name
        logger.warning("The index %r is not on the server any more; it is filled anew", name)
    found = in_step.find_difference(index)
    # What was modified before the last sync was looked at then.
    since = in_step.read_last_sync(index) or _started_at(index)
    modified = find_modified(index, since - in_step.CLOCK_SKEW)
    missing = set(found.missing)
    changed = {id: of for id, of in find_changed(index, modified).items() if id not in missing}
    return found, changed, modified


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


def _started_at(index: Any) -> datetime:
    """Returns when a run was registered."""
    info = index.samples._root_dataset.get_brain_info(index.key) if index.key else None
    stamp: datetime | None = info.timestamp if info is not None else None
    if stamp is None:
        return datetime.now(timezone.utc)
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=timezone.utc)


def _update_stored_fields(index: Any, sample_ids: Sequence[str]) -> int:
    if not index.config.stored_fields or index.find_index() is None:
        return 0
    return sum(
        index.update_attributes(sample_ids=sample_ids[start : start + _UPDATED_TOGETHER])
        for start in range(0, len(sample_ids), _UPDATED_TOGETHER)
    )
