"""Keeps samples and labels that are not in the dataset any more out of a search's k neighbours.

An index holds what was added to it: also samples and labels that were deleted since, and those of
every slice of a grouped dataset. A search of the whole dataset searches the whole index first, and
asks MongoDB about the k neighbours alone. Only if some are not in the dataset does it search again,
in the dataset as in any other view.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import numpy as np

from fiftyone_redis.engine import Neighbors
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.similarity.view_subset import ViewSubset

Search = Callable[..., list[Neighbors]]
"""Searches an index; takes the subset to search in as ``within``, None for the whole index."""


def search_existing(
    search: Search, subset: ViewSubset, found: list[Neighbors], k: int | None
) -> list[Neighbors]:
    """Returns the neighbours of each query that are in the dataset.

    Args:
        search: the search
        subset: the dataset
        found: what the search found in the whole index
        k: the number of neighbours; None if the search found all documents
    """
    if k is None:
        members = set(subset.ids())
        return [_keep_members(each, members) for each in found]
    if subset.has_all(_list_hits(found)):
        return found
    return search(within=subset)


def search_each_slice(
    search: Search,
    select: Callable[..., ViewSubset],
    found: list[Neighbors],
    known: set[str],
    farthest: bool,
) -> list[Neighbors]:
    """Returns k neighbours of each slice of a grouped dataset that the index has samples of.

    Whatever slice is shown, now or later, a view of them then has k samples.

    Args:
        search: the search, of one query
        select: returns some slices as a subset, by their names; all of them, if none are named
        found: what the search found in the whole index
        known: the slices of a few documents of the index
        farthest: whether the farthest are searched
    """
    hits = _list_hits(found)
    counts = select().count_slices(hits)
    slices = known | counts.keys()
    if len(slices) <= 1 and counts.total() == len(hits):
        return found
    parts = [part for name in sorted(slices) for part in search(within=select(name))]
    rows = [(part, row) for part in parts for row in range(len(part.ids))]
    rows.sort(key=lambda at: at[0].distances[at[1]], reverse=farthest)
    tags = {tag: [part.tags[tag][row] for part, row in rows] for tag in found[0].tags}
    distances = np.array([part.distances[row] for part, row in rows], dtype=np.float64)
    return [Neighbors([part.ids[row] for part, row in rows], distances, tags)]


def note_samples(found: list[Neighbors], subset: ViewSubset, sample_tag: str) -> list[Neighbors]:
    """Returns neighbours that are labels with the ids of the samples that they are in now."""
    owners = subset.find_owners(_list_hits(found))
    return [
        Neighbors(each.ids, each.distances, {sample_tag: [owners[id] for id in each.ids]})
        for each in found
    ]


def _keep_members(found: Neighbors, members: Container[str]) -> Neighbors:
    """Returns those of the neighbours that are among some ids."""
    rows = [row for row, id in enumerate(found.ids) if id in members]
    return Neighbors(
        [found.ids[row] for row in rows],
        found.distances[rows],
        {tag: [values[row] for row in rows] for tag, values in found.tags.items()},
    )


def _list_hits(found: Sequence[Neighbors]) -> list[Hit]:
    """Returns the neighbours of all queries as hits, which a subset can check."""
    return [
        Hit("", 0.0, {tag: values[row] for tag, values in each.tags.items()}, id)
        for each in found
        for row, id in enumerate(each.ids)
    ]
