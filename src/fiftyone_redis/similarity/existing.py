"""Keeps samples and labels that are not in the dataset any more out of a search's k neighbours.

An index holds what was added to it: also samples and labels that were deleted since, and those of
every slice of a grouped dataset. A search of the whole dataset searches the whole index first, and
asks MongoDB about the k neighbours alone. Only if some are not in the dataset does it search again,
in the dataset as in any other view.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from fiftyone_redis.engine import Neighbors
from fiftyone_redis.engine.replies import Hit
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
