"""How an index differs from its dataset: what is missing, gone, or embedded from something else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.vectors import checks, encoding
from fiftyone_redis.similarity import id_sets
from fiftyone_redis.similarity.dataset_ids import iterate_ids, select_all_slices
from fiftyone_redis.similarity.embedding import read_field
from fiftyone_redis.similarity.id_sets import IdSet
from fiftyone_redis.similarity.sources import SOURCE, SourceReader

_BATCH = 2048  # samples that are compared together


@dataclass(frozen=True)
class Difference:
    """How an index differs from its dataset. The id of a patch is that of its label.

    Args:
        missing: the ids of the samples or patches that the index lacks
        samples: the sample id of each of these
        gone: the ids in the index that are in no dataset that uses it
        indexed: the number of ids in the index
    """

    missing: list[str]
    samples: list[str]
    gone: list[str]
    indexed: int

    def restrict(self, ids: Collection[str]) -> Difference:
        """Returns the same with those only of the missing that are among some ids."""
        wanted = set(ids)
        kept = [pair for pair in zip(self.missing, self.samples, strict=True) if pair[0] in wanted]
        return replace(self, missing=[id for id, _ in kept], samples=[of for _, of in kept])


def difference(index: Any, pages: Iterable[Sequence[str]] | None = None) -> Difference:
    """Compares the ids of an index with those of its dataset.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        pages (None): the ids of the index in pages; by default they are read

    Raises:
        FiftyOneRedisError: if the server cannot be read
    """
    # Redis is read first, so that a concurrent addition counts as missing, never as gone.
    if pages is None:
        opened = index.find_index()
        pages = [] if opened is None else opened.walk_ids()
    indexed, others = id_sets.from_pages(pages)
    ids, owners = _read_dataset_ids(index)
    lacking = id_sets.find_missing(ids, indexed)
    unseen = id_sets.to_ids(indexed[id_sets.find_missing(indexed, ids)])
    return Difference(
        id_sets.to_ids(ids[lacking]),
        id_sets.to_ids(owners[lacking]),
        index.drop_used_elsewhere(unseen + others),
        len(indexed) + len(others),
    )


def find_modified(index: Any, since: datetime) -> list[str]:
    """Returns the ids of the samples that were changed since some time, of all slices."""
    is_modified = {"$match": {"last_modified_at": {"$gte": since}}}
    return id_sets.to_ids(id_sets.read_sample_ids(select_all_slices(index.samples), is_modified))


def find_changed(index: Any, sample_ids: Sequence[str]) -> dict[str, str]:
    """Returns which samples or patches were embedded from something else than what they are now.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        sample_ids: the samples to look at

    Returns:
        the id of the sample of each of them
    """
    field, changed = index.config.embeddings_field, dict[str, str]()
    opened = index.find_index()
    if opened is None or (field is None and index.config.model is None):
        return {}
    samples, patches_field = select_all_slices(index.samples), index.config.patches_field
    for start in range(0, len(sample_ids), _BATCH):
        view = samples.select(list(sample_ids[start : start + _BATCH]))
        owners = {id: sample for sample, id in iterate_ids(view, patches_field)}
        differing = (
            _find_other_vectors(opened, index, view, owners)
            if field
            else _find_other_sources(opened, index, owners)
        )
        changed |= {id: owners[id] for id in differing}
    return changed


def _read_dataset_ids(index: Any) -> tuple[IdSet, IdSet]:
    """Returns the ids of all samples or patches, and the sample of each."""
    samples, patches_field = select_all_slices(index.samples), index.config.patches_field
    if patches_field is None:
        ids = id_sets.read_sample_ids(samples)
        return ids, ids
    if samples._is_frame_field(patches_field):
        pairs = list(iterate_ids(samples, patches_field))
        labels, first = np.unique(id_sets.to_array([id for _, id in pairs]), return_index=True)
        return labels, id_sets.to_array([sample for sample, _ in pairs])[first]
    return id_sets.read_label_ids(samples, samples._get_label_field_path(patches_field)[1])


def _find_other_sources(opened: VectorIndex, index: Any, owners: dict[str, str]) -> Iterator[str]:
    """Yields the ids that were embedded from another file or box."""
    ids = list(owners)
    noted = opened.read_field(ids, SOURCE)
    current = SourceReader(index.samples, index.config.patches_field).read(ids, [*owners.values()])
    for id, before, now in zip(ids, noted, current, strict=True):
        if before is not None and now is not None and before != now:
            yield id


def _find_other_vectors(
    opened: VectorIndex, index: Any, view: Any, owners: dict[str, str]
) -> Iterator[str]:
    """Yields the ids whose field holds another vector than the index."""
    dtype, vectors = opened.schema.dtype, read_field(index, view, index.config.embeddings_field)
    stored = opened.fetch([id for id in owners if id in vectors])
    if not stored.ids:
        return
    current = checks.as_matrix([vectors[id] for id in stored.ids])
    if current.shape != stored.vectors.shape:
        yield from stored.ids
        return
    blobs = [row.tobytes() for row in encoding.encode(current, dtype)]
    held = encoding.decode(blobs, dtype, current.shape[1])
    different = np.flatnonzero((held != stored.vectors).any(axis=1))
    yield from (stored.ids[row] for row in different)
