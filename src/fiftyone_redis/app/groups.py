"""Shows groups of near duplicates in the App, and finds what can be deleted of them."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import own_fields, views
from fiftyone_redis.app.duplicates import Duplicates
from fiftyone_redis.app.own_fields import DISTANCE, GROUP, ROLE
from fiftyone_redis.errors import InputError
from fiftyone_redis.similarity.dataset_ids import select_all_slices

_KEEP, _DUPLICATE = "keep", "duplicate"


def make_view(index: Any, found: Duplicates, is_stacked: bool) -> tuple[Any, list[str]]:
    """Notes the group and distance of each near duplicate, and returns a view of them.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        found: the near duplicates
        is_stacked: whether each group is one of FiftyOne's dynamic groups, else all stand side by
            side

    Returns:
        the view, and the names of the fields: group, role and distance
    """
    view = views.make_view(index, found.ids)
    samples = view if view._is_patches else index.samples._root_dataset
    columns: dict[str, list[Any]] = {
        GROUP: found.groups,
        ROLE: [_KEEP if keep else _DUPLICATE for keep in found.keeps],
        DISTANCE: found.distances,
    }
    names = [
        own_fields.replace_values(
            samples, index.key, what, dict(zip(found.ids, values, strict=True))
        )
        for what, values in columns.items()
    ]
    if is_stacked:
        view = view.group_by(names[0], order_by=names[2]).sort_by(names[0])
    return view, names


def find_removable(samples: Any, brain_key: str) -> tuple[list[str], int]:
    """Finds what can be deleted: all but one of each group that was found last.

    What was kept may have been deleted since: then another one of the group is.

    Args:
        samples: a dataset, or a view of patches
        brain_key: the key of the run

    Returns:
        the ids of the samples or patches, and the number of their groups

    Raises:
        InputError: if no near duplicates are shown
    """
    group_field = own_fields.find_name(samples, brain_key, GROUP)
    role_field = own_fields.find_name(samples, brain_key, ROLE)
    if group_field is None or role_field is None:
        raise InputError("No near duplicates are shown; find them first.")
    view = select_all_slices(samples._dataset).exists(group_field)
    rows = list(zip(*view.values([group_field, role_field, "id"]), strict=True))
    kept = {group for group, role, _ in rows if role != _DUPLICATE}
    removable = []
    for group, role, id in rows:
        if group not in kept:
            kept.add(group)
        elif role == _DUPLICATE:
            removable.append((group, id))
    return [id for _, id in removable], len({group for group, _ in removable})


def delete(samples: Any, patches_field: str | None, ids: list[str]) -> None:
    """Deletes samples, or the labels of patches.

    Args:
        samples: a dataset, or a view of patches
        patches_field: the field of the patches; None for samples
        ids: their ids
    """
    dataset = samples._root_dataset
    if patches_field is None:
        dataset.delete_samples(ids)
        return
    dataset.delete_labels(ids=ids, fields=patches_field)
    samples._dataset.delete_samples(ids)
