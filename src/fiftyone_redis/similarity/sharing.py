"""Runs that share an index: clones of a dataset, and runs that name the same index.

They share it until one of them is about to change it. Then the oldest run keeps the index, and each
of the others gets a copy of its own.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo
from bson import ObjectId

from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import VectorIndex
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.errors import IndexNotFoundError
from fiftyone_redis.log import get_logger
from fiftyone_redis.similarity.dataset_ids import list_ids
from fiftyone_redis.similarity.index_names import choose_name
from fiftyone_redis.similarity.index_users import (
    IndexUser,
    find_run_id,
    find_users,
    refuse_others,
)
from fiftyone_redis.similarity.sources import SOURCE

logger = get_logger(__name__)


def find_all_users(index: Any) -> list[IndexUser]:
    """Returns the runs that use the index of a run, itself included, the oldest first."""
    names = {index.config.index_name}
    opened = index._index  # another thread may set it to None
    if opened is not None:
        own = opened.schema.server_name
        names |= {own, get_alias(own)}
    return find_users(*names)


def find_others(index: Any) -> list[IndexUser]:
    """Returns the other runs that use the index of a run, the oldest first."""
    run = find_run_id(index._dataset_doc, index.key)
    return [user for user in find_all_users(index) if user.run != run]


def find_used_elsewhere(index: Any, ids: list[str]) -> set[str]:
    """Returns those of the ids that the datasets of other runs on the same index have."""
    wanted, used = set(ids), set()
    for other in find_others(index) if ids else []:
        samples = fo.load_dataset(other.dataset).load_brain_view(other.brain_key)
        if other.patches_field is None or samples.has_field(other.patches_field):
            used |= wanted.intersection(list_ids(samples, other.patches_field))
    return used


def refuse_if_shared(index: Any, advice: str) -> None:
    """Raises if other runs use the index of a run.

    Args:
        index: the index of the run
        advice: what to do instead

    Raises:
        IndexInUseError: if there are any
    """
    refuse_others(index.config.index_name, find_others(index), advice)


def separate(index: Any) -> None:
    """Gives the runs that share an index their own, all but the oldest, before one changes it.

    Args:
        index: the index of the run that is about to change it

    Raises:
        FiftyOneRedisError: if a copy cannot be made; nothing has changed then
    """
    run = find_run_id(index._dataset_doc, index.key)
    if _is_alone(find_all_users(index), run):
        return
    # Another process or thread may be giving this run an index of its own at this moment.
    with lease.hold(index._redis, f"own-index-{run}"):
        users = find_all_users(index)
        if run is not None and run not in [user.run for user in users]:
            follow_run(index, run)
            users = find_all_users(index)
        if _is_alone(users, run):
            return
        if users[0].run != run:
            take_own_index(index, users)
            return
        for user in users[1:]:
            if user.is_ours and user.is_finished:
                _separate_other(index, user)


def _is_alone(users: list[IndexUser], run: ObjectId | None) -> bool:
    """Returns whether a run is the only user of its index."""
    return [user.run for user in users] == ([] if run is None else [run])


def _separate_other(index: Any, other: IndexUser) -> None:
    """Gives another run an index of its own, unless it has got one meanwhile."""
    with lease.hold(index._redis, f"own-index-{other.run}"):
        users = find_all_users(index)
        if other.run not in [user.run for user in users]:
            return
        loaded = _load(other, index.config.connection)
        follow_run(loaded, other.run)
        take_own_index(loaded, users)


def _load(user: IndexUser, connection: Any) -> Any:
    """Loads the index of another run, as FiftyOne does: its handle, where there is one."""
    dataset = fo.load_dataset(user.dataset)
    return dataset.load_brain_results(user.brain_key, **asdict(connection))


def take_own_index(index: Any, users: list[IndexUser]) -> None:
    """Copies the index of a run, which uses the copy from then on.

    Args:
        index: the index of the run
        users: the runs that share it

    Raises:
        FiftyOneRedisError: if the copy cannot be made; the run goes on with the shared index
    """
    config, doc = index.config, index._dataset_doc
    own = copy.copy(index)  # others may search the shared index until the copy is complete
    own._config = copy.copy(config)
    _set_index(own, None, config.index_name, config.vector_field, config.id_field)
    try:
        shared = own._open_index()  # its settings may have changed since
    except IndexNotFoundError:
        shared = None
    own._is_named_here = True
    _set_index(own, None, choose_name(doc.name, index.key), None, None)
    logger.warning(
        "The run %r of the dataset %r gets a copy of the index %r, named %r, because one of "
        "the runs that share it will change it; they are %s",
        *(index.key, doc.name, config.index_name, own.config.index_name),
        ", ".join(map(str, users)),
    )
    with ExitStack() as undo:
        if shared is not None:
            _copy(shared, own, undo)
        own.save_config()
        undo.pop_all()
    vars(config).update(vars(own.config))
    index._index, index._is_named_here = own._index, True
    index._clear_cache()


def _copy(shared: VectorIndex, own: Any, undo: ExitStack) -> None:
    """Copies the documents of the ids that are in the dataset of a run.

    Args:
        shared: the index to copy
        own: the index of the run
        undo: gets what deletes the copy
    """
    ids = set(list_ids(own.samples, own.config.patches_field))
    made = own._create_index(shared.schema.dim)
    undo.callback(made.drop)
    for page in shared.vectors():
        rows = [row for row, id in enumerate(page.ids) if id in ids]
        if rows:
            tags = {tag: [page.tags[tag][row] for row in rows] for tag in made.schema.tags}
            own._write(
                made,
                [page.ids[row] for row in rows],
                page.vectors[rows],
                tags,
                read_source=lambda some: {SOURCE: shared.read_field(some, SOURCE)},
            )


def _set_index(
    index: Any,
    opened: VectorIndex | None,
    index_name: str,
    vector_field: str | None,
    id_field: str | None,
) -> None:
    config: Any = index.config
    config.index_name, config.vector_field, config.id_field = index_name, vector_field, id_field
    index._index = opened


def follow_run(index: Any, run: ObjectId | None) -> None:
    """Goes on with the index that the database names for a run; nothing if it was deleted.

    Args:
        index: the index of the run
        run: the id of the run's document; None if it is not saved
    """
    found = foo.get_db_conn()["runs"].find_one({"_id": run}, {"config": 1})
    if found is not None and found["config"].get("index_name"):
        saved = found["config"]
        _set_index(
            index, None, saved["index_name"], saved.get("vector_field"), saved.get("id_field")
        )
