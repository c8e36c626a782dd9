"""Runs that share an index: clones of a dataset, and runs that name the same index.

They share it until one of them is about to change it. Then the oldest run keeps the index, and each
of the others gets a copy of its own.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

from fiftyone_redis.connection.naming import get_alias
from fiftyone_redis.engine import VectorIndex
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

logger = get_logger(__name__)


def find_all_users(index: Any) -> list[IndexUser]:
    """Returns the runs that use the index of a run, itself included, the oldest first."""
    names = {index.config.index_name}
    if index._index is not None:
        own = index._index.schema.server_name
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
    users = find_all_users(index)
    if run is not None and run not in [user.run for user in users]:
        # Another process has given this run an index of its own.
        _follow_run(index, run)
        users = find_all_users(index)
    if not [user for user in users if user.run != run]:
        return
    if users[0].run != run:
        take_own_index(index, users)
        return
    for user in users[1:]:
        if user.is_ours and user.is_finished:
            take_own_index(_load(user, index.config.connection), users)


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
    index._index = None  # its settings may have changed since
    try:
        shared = index._open_index()
    except IndexNotFoundError:
        shared = None
    before = {name: getattr(config, name) for name in ("index_name", "vector_field", "id_field")}
    index._is_named_here = True
    with ExitStack() as undo:
        undo.callback(_set_index, index, shared, **before)
        _set_index(index, None, choose_name(doc.name, index.key), None, None)
        logger.warning(
            "The run %r of the dataset %r gets a copy of the index %r, named %r, because one of "
            "the runs that share it will change it; they are %s",
            *(index.key, doc.name, before["index_name"], config.index_name),
            ", ".join(map(str, users)),
        )
        if shared is not None:
            _copy(shared, index)
        index.save_config()
        undo.pop_all()
    index._clear_cache()


def _copy(shared: VectorIndex, index: Any) -> None:
    """Copies the documents of the ids that are in the dataset of a run."""
    ids = set(list_ids(index.samples, index.config.patches_field))
    copy = index._create_index(shared.schema.dim)
    with ExitStack() as undo:
        undo.callback(copy.drop)
        for page in shared.vectors():
            rows = [row for row, id in enumerate(page.ids) if id in ids]
            if rows:
                tags = {tag: [page.tags[tag][row] for row in rows] for tag in copy.schema.tags}
                index._write(copy, [page.ids[row] for row in rows], page.vectors[rows], tags)
        undo.pop_all()


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


def _follow_run(index: Any, run: Any) -> None:
    """Goes on with the index that the database names for a run; nothing if it was deleted."""
    found = foo.get_db_conn()["runs"].find_one({"_id": run}, {"config": 1})
    if found is not None and found["config"].get("index_name"):
        saved = found["config"]
        _set_index(
            index, None, saved["index_name"], saved.get("vector_field"), saved.get("id_field")
        )
