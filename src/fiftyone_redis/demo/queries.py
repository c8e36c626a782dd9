"""The demo's queries, each asked through FiftyOne's own calls, as a user would."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from fiftyone_redis.demo.picture import Crop, Neighbour, Row
from fiftyone_redis.demo.report import timed
from fiftyone_redis.demo.subjects import Subject

K = 10
_SEED = 51

Ids = list[str]


@dataclass(frozen=True)
class Query:
    """One query.

    Attributes:
        value: what is searched for: an id, ids, a vector or a prompt
        label: the label that its neighbours should carry, if there is one
        ids: the items that it is made of, which do not count as their own neighbours
    """

    value: str | Ids | NDArray[Any]
    label: str | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What came of one query.

    Attributes:
        query: the query
        seconds: how long it took until its neighbours were read, in seconds
        share: the share of its 10 nearest neighbours that carry its label, from 0 to 1, or None
            if it has no label
    """

    query: Query
    seconds: float
    share: float | None


def by_id(subject: Subject, count: int) -> list[Query]:
    """Makes queries by id, of random items.

    Args:
        subject: what is searched
        count: how many queries

    Returns:
        the queries; fewer when there are fewer items
    """
    pool = _labelled(subject, subject.queries)
    chosen = random.Random(_SEED).sample(pool, min(count, len(pool)))  # noqa: S311 - no secret
    return [Query(one, label, (one,)) for one, label in chosen]


def by_vector(subject: Subject, index: Any, count: int) -> list[Query]:
    """Makes queries by vector, those of random items.

    Args:
        subject: what is searched
        index: its similarity index
        count: how many queries

    Returns:
        the queries
    """
    queries = by_id(subject, count)
    vectors = _vectors(subject, index, [query.ids[0] for query in queries])
    return [Query(vectors[q.ids[0]], q.label, q.ids) for q in queries]


def by_ids(subject: Subject, count: int, members: int = 3) -> list[Query]:
    """Makes queries by several ids, of items with one label.

    Args:
        subject: what is searched
        count: how many queries
        members: how many ids each has

    Returns:
        the queries; fewer when too few items share a label
    """
    groups: dict[str | None, Ids] = {}
    for query in by_id(subject, len(subject.queries)):
        groups.setdefault(query.label, []).append(query.ids[0])
    cut = [
        (label, ids[start : start + members])
        for label, ids in sorted(groups.items(), key=str)
        for start in range(0, len(ids) - members + 1, members)[: 1 if label else count]
    ]
    return [Query(ids, label, tuple(ids)) for label, ids in cut][:count]


def by_text(subject: Subject, count: int) -> list[Query]:
    """Makes text prompts, one for each of the subject's words.

    Args:
        subject: what is searched
        count: how many queries at most

    Returns:
        the queries
    """
    return [
        Query(subject.prompt.format(word), None if subject.label is None else word)
        for word in subject.words[:count]
    ]


def restricted(subject: Subject) -> tuple[Subject, str]:
    """Restricts what is searched to a view: of three labels, or of half the items.

    Args:
        subject: what is searched

    Returns:
        the same subject in that view, and what the view is of, in words
    """
    if subject.label is None:
        half = subject.items.take(max(len(subject.items) // 2, 1), seed=_SEED)
        return replace(subject, items=half, queries=half), "of half of them"
    labels = subject.words[:3]
    there = fo.ViewField(subject.label).is_in(labels)
    items, queries = subject.items.match(there), subject.queries.match(there)
    return replace(subject, items=items, queries=queries), f"of {', '.join(labels)}"


def ask(subject: Subject, queries: Sequence[Query]) -> list[Answer]:
    """Asks queries one after another.

    Args:
        subject: what is searched
        queries: the queries

    Returns:
        the answers, in the order of the queries
    """
    answers = []
    for query in queries:
        found, seconds = timed(partial(_labels_of_nearest, subject, query))
        others = [label for one, label in found if one not in query.ids][:K]
        hits = [label == query.label for label in others] if query.label is not None else []
        answers.append(Answer(query, seconds, statistics.fmean(hits) if hits else None))
    return answers


def median_time(answers: Sequence[Answer]) -> float:
    """Returns the median time of some answers.

    Args:
        answers: the answers, from 1

    Returns:
        the time in seconds
    """
    return statistics.median(answer.seconds for answer in answers)


def agreement(answers: Sequence[Answer]) -> float | None:
    """Returns the share of neighbours that carry their query's label.

    Args:
        answers: the answers

    Returns:
        the mean over the answers, from 0 to 1, or None if there are no labels
    """
    shares = [answer.share for answer in answers if answer.share is not None]
    return statistics.fmean(shares) if shares else None


def nearest(subject: Subject, query: Query) -> fo.DatasetView:
    """Returns the view of a query's nearest neighbours, its own items among them.

    Args:
        subject: what is searched
        query: the query

    Returns:
        the view, the nearest first
    """
    return subject.items.sort_by_similarity(
        query.value, k=K + len(query.ids), brain_key=subject.brain_key
    )


def picture_row(subject: Subject, index: Any, query: Query, title: str, note: str) -> Row:
    """Asks a query and returns what a picture shows of it.

    Args:
        subject: what is searched
        index: its similarity index
        query: the query, not by vector
        title: what kind of query it is
        note: what else the picture says of it

    Returns:
        the row
    """
    crops = _crops(subject, nearest(subject, query))
    found = [one for one in crops if one[0] not in query.ids][:K]
    vectors = _vectors(subject, index, [one for one, _, _ in found])
    distance = _distance_from(_vector(subject, index, query))
    if query.ids:
        asked = tuple(crop for _, crop, _ in _crops(subject, subject.items.select(query.ids)))
    return Row(
        title=title,
        note=note,
        query=asked if query.ids else str(query.value),
        label=query.label,
        neighbours=tuple(Neighbour(c, label, distance(vectors[i])) for i, c, label in found),
    )


def _labels_of_nearest(subject: Subject, query: Query) -> list[tuple[str, str | None]]:
    return _labelled(subject, nearest(subject, query))


def _labelled(subject: Subject, items: Any) -> list[tuple[str, str | None]]:
    """Returns the ids and labels of items, in their order."""
    if subject.label is None:
        return [(one, None) for one in items.values("id")]
    return list(zip(*items.values(["id", subject.label]), strict=True))


def _crops(subject: Subject, items: Any) -> list[tuple[str, Crop, str | None]]:
    """Returns ids, images and labels of items, in their order."""
    labelled, paths = _labelled(subject, items), items.values("filepath")
    boxes: Sequence[Any] = [None] * len(paths)
    if subject.patches_field is not None:
        boxes = items.values(f"{subject.patches_field}.bounding_box")
    return [
        (one, Crop(path, None if box is None else tuple(box)), label)
        for (one, label), path, box in zip(labelled, paths, boxes, strict=True)
    ]


def _vectors(subject: Subject, index: Any, ids: Ids) -> dict[str, NDArray[Any]]:
    embeddings, sample_ids, label_ids = index.get_embeddings(**{subject.ids_name: ids})
    found = sample_ids if subject.patches_field is None else label_ids
    return dict(zip((str(one) for one in found), embeddings, strict=True))


def _vector(subject: Subject, index: Any, query: Query) -> NDArray[Any]:
    if query.ids:
        vectors = _vectors(subject, index, list(query.ids)).values()
        return np.asarray(np.mean(list(vectors), axis=0))
    return np.asarray(index.get_model().embed_prompt(query.value))


def _distance_from(query: NDArray[Any]) -> Callable[[NDArray[Any]], float]:
    """Returns a function that gives a vector's cosine distance from the query."""

    def distance(vector: NDArray[Any]) -> float:
        return float(1 - query @ vector / (np.linalg.norm(query) * np.linalg.norm(vector)))

    return distance
