"""The demo's job: index, query, remove and add, and show what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import fiftyone.zoo as foz

from fiftyone_redis.demo import datasets, picture, queries, removal, subjects
from fiftyone_redis.demo.model import NAME, register_model
from fiftyone_redis.demo.queries import Query
from fiftyone_redis.demo.report import heading, line, timed
from fiftyone_redis.demo.subjects import Subject

_BACKEND = "redis"
_CLIP = "clip-vit-base32-torch"
_MANY, _FEW, _MOVED = 40, 10, 100  # how many queries, and how many vectors leave and come back


def default_folder() -> Path:
    """Returns the folder where the demo keeps its images.

    Returns:
        the value of ``FIFTYONE_REDIS_DEMO_DIR``, else ``~/.fiftyone/redis-demo``
    """
    folder = os.environ.get("FIFTYONE_REDIS_DEMO_DIR")
    return Path(folder) if folder else Path.home() / ".fiftyone" / "redis-demo"


def run(
    dataset: str = "digits",
    model: str | None = None,
    folder: Path | None = None,
    pictures: Path | None = None,
    launch: bool = False,
) -> None:
    """Runs the demo and prints what it does, with timings and how often neighbours agree.

    The datasets and their indexes stay, so that the FiftyOne App shows them; running it again
    makes the indexes afresh.

    Args:
        dataset: ``"digits"``, or the name of a FiftyOne zoo dataset, which may be downloaded
        model: the name of the zoo model that embeds, by default one that fits the dataset
        folder: where the demo keeps its images, by default :func:`default_folder`
        pictures: where the picture of the neighbours goes, by default ``folder``
        launch: whether to open the FiftyOne App at the end and stay until it is interrupted

    Raises:
        InputError: the dataset is not one of images
        FiftyOneRedisError: Redis cannot do what is asked of it
    """
    folder = (folder or default_folder()).expanduser().resolve()
    target = (pictures or folder).expanduser().resolve() / "neighbours.png"
    parts, _model = _prepare(dataset, model, folder)  # the model is kept: FiftyOne caches it
    rows = [row for part in parts for row in _search(part)]
    picture.draw(rows, target, f"{dataset.capitalize()}: nearest neighbours, found by Redis")
    for part in parts:
        datasets.note_picture(part.dataset, target)
    _report_what_stays(parts, target, folder)
    if launch:
        _open_app(parts[0].dataset)


def remove(folder: Path | None = None) -> None:
    """Removes what the demo has left; see :func:`fiftyone_redis.demo.removal.remove`."""
    removal.remove((folder or default_folder()).expanduser().resolve())


def _report_what_stays(parts: list[Subject], target: Path, folder: Path) -> None:
    heading("What stays, for you to look at")
    line("picture", str(target))
    for part in parts:
        line("in the App", f"{part.brain_key}, in the dataset {part.dataset.name}")
        line("in Redis", part.dataset.get_brain_info(part.brain_key).config.index_name)
    if parts[0].model == NAME:
        line("files", f"the images in {folder}, and the model {NAME} in FiftyOne's zoo")
    line("to remove it", "fiftyone-redis demo --remove")


def _prepare(dataset: str, model: str | None, folder: Path) -> tuple[list[Subject], Any]:
    """Makes the datasets, and loads their model."""
    heading("Preparing", "time")
    _, seconds = timed(fo.list_datasets)
    line("FiftyOne", f"{fo.__version__}, with its database", seconds)
    register_model()
    if dataset == "digits":
        parts = subjects.digits(folder, model or NAME)
    else:
        parts = subjects.zoo(dataset, model or _CLIP)
    loaded, seconds = timed(lambda: foz.load_zoo_model(parts[0].model))
    line("model", parts[0].model, seconds)
    return parts, loaded


@dataclass(frozen=True)
class _Group:
    """Queries of one kind.

    Attributes:
        name: what kind they are
        what: what one of them is
        subject: what they search
        queries: the queries
        pictured: how many of them the picture shows
        note: what the picture says of them
        hardest: whether it also shows the one whose neighbours agree least
    """

    name: str
    what: str
    subject: Subject
    queries: list[Query]
    pictured: int
    note: str = ""
    hardest: bool = False


def _search(subject: Subject) -> list[picture.Row]:
    """Indexes and searches one subject, and returns what the picture shows of it."""
    share = "" if subject.label is None else "same label"
    heading(f"{subject.kind.capitalize()} of {subject.dataset.name}", "time", share)
    index = _index(subject)
    rows = []
    for group in _groups(subject, index):
        if not group.queries:
            continue
        answers = queries.ask(group.subject, group.queries)
        what = f"{len(answers)} queries: {group.what}"
        line(group.name, what, queries.median_time(answers), queries.agreement(answers))
        for query, note in _pictured(group, answers):
            title = f"{subject.kind.capitalize()} {group.name}"
            rows.append(queries.picture_row(group.subject, index, query, title, note))
    _remove_and_add(subject, index)
    return rows


def _index(subject: Subject) -> Any:
    """Makes the index afresh."""
    datasets.forget(subject.dataset, subject.brain_key)
    with _quiet():
        index, seconds = timed(
            lambda: fob.compute_similarity(
                subject.dataset,
                patches_field=subject.patches_field,
                model=subject.model,
                brain_key=subject.brain_key,
                backend=_BACKEND,
                progress=False,
            )
        )
    version = index.client.info("server")["redis_version"]
    what = f"{index.total_index_size:,} {subject.kind} embedded and put into Redis {version}"
    line("index", what, seconds)
    return index


def _groups(subject: Subject, index: Any) -> Iterator[_Group]:
    """Gives the kinds of queries that this index can answer."""
    samples = subject.patches_field is None
    one = queries.by_id(subject, _MANY)
    hardest = samples and subject.label is not None
    yield _Group("by id", f"one of the {subject.kind}", subject, one, 1, hardest=hardest)
    vectors = queries.by_vector(subject, index, _MANY)
    yield _Group("by vector", "one vector", subject, vectors, 0)
    several = queries.by_ids(subject, _FEW)
    what = f"three {subject.kind} of one label" if subject.label else f"three {subject.kind}"
    yield _Group("by several ids", what, subject, several, int(samples), "their mean")
    if index.config.supports_prompts:
        texts = queries.by_text(subject, _FEW)
        yield _Group("by text", f'such as "{texts[0].value}"', subject, texts, 2 if samples else 1)
    part, which = queries.restricted(subject)
    inside = queries.by_id(part, _MANY)
    what = f"one, among the {len(part.items):,} {subject.kind} in a view"
    yield _Group("in a view", what, part, inside, int(samples), which)


def _pictured(group: _Group, answers: list[queries.Answer]) -> Iterator[tuple[Query, str]]:
    """Chooses the queries that the picture shows, and says what it notes beside them."""
    for answer in answers[: group.pictured]:
        yield answer.query, group.note
    if group.hardest:
        hardest = min(answers, key=lambda answer: answer.share or 0.0)
        yield hardest.query, f"the hardest of {len(answers)}"


def _remove_and_add(subject: Subject, index: Any) -> None:
    """Takes some vectors out of the index, sees that they are gone, and puts them back."""
    ids = [query.ids[0] for query in queries.by_id(subject, _MOVED)]
    chosen = {subject.ids_name: ids}
    (embeddings, sample_ids, label_ids), seconds = timed(lambda: index.get_embeddings(**chosen))
    line("read", f"{len(embeddings)} vectors of {embeddings.shape[1]} dimensions", seconds)

    _, seconds = timed(lambda: index.remove_from_index(**chosen))
    found = queries.nearest(subject, Query(embeddings[0])).values("id")
    still = len(set(found) & set(ids))
    what = f"{len(ids)} vectors, {index.total_index_size:,} remain; a search finds {still} of those"
    line("remove", what, seconds)

    _, seconds = timed(lambda: index.add_to_index(embeddings, sample_ids, label_ids=label_ids))
    line("add", f"{len(ids)} vectors, {index.total_index_size:,} again", seconds)


def _open_app(dataset: fo.Dataset) -> None:
    """Opens the App and stays until it is interrupted."""
    session = fo.launch_app(dataset)
    # In a container FiftyOne listens on every address, and no browser opens that name.
    line("App", session.url.replace("//0.0.0.0", "//localhost") + " (Ctrl-C ends it)")
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        session.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps FiftyOne's notes on its progress out of the report; warnings are shown."""
    logger = logging.getLogger("fiftyone")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
