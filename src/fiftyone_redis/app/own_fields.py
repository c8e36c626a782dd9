"""Fields that the plugin adds to datasets to show what was found; a later search replaces them.

A field of a user is never touched: the plugin marks its own in their ``info``, and chooses another
name where a user's field has the one that it wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import fiftyone as fo

from fiftyone_redis.similarity.dataset_ids import select_all_slices

DISTANCE, GROUP, ROLE = "distance", "group", "role"

_INFO = {"made_by": "fiftyone-redis"}
_KINDS = {DISTANCE: fo.FloatField, GROUP: fo.IntField, ROLE: fo.StringField}
_TEXTS = {
    DISTANCE: "Distances of the last search from the panel; the next one replaces them",
    GROUP: "Groups of near duplicates that were found last",
    ROLE: "Which near duplicate of each group to keep, and which to leave out",
}


def choose_name(samples: Any, brain_key: str, what: str) -> str:
    """Returns the name of a field of our own: one that is there already, or a free one.

    Args:
        samples: a dataset, or a view of patches
        brain_key: the key of the run
        what: ``DISTANCE``, ``GROUP`` or ``ROLE``
    """
    name = f"{brain_key.lstrip('_') or 'redis'}_{what}"
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(name for name in names if _is_free(samples.get_field(name)))


def find_name(samples: Any, brain_key: str, what: str) -> str | None:
    """Returns the name of a field of our own, None if it does not exist."""
    name = choose_name(samples, brain_key, what)
    return None if samples.get_field(name) is None else name


def replace_values(samples: Any, brain_key: str, what: str, values: Mapping[str, Any]) -> str:
    """Replaces all values of a field of our own, and returns its name.

    Args:
        samples: a dataset, or a view of patches, with which the field goes
        brain_key: the key of the run
        what: ``DISTANCE``, ``GROUP`` or ``ROLE``
        values: the new values, by the ids of samples or patches
    """
    name, dataset = choose_name(samples, brain_key, what), samples._dataset
    everyone = select_all_slices(dataset)
    before: list[str] = []
    if dataset.get_field(name) is None:
        dataset.add_sample_field(name, _KINDS[what], description=_TEXTS[what], info=dict(_INFO))
    else:
        before = everyone.exists(name).values("id")
    everyone.set_values(name, dict.fromkeys(before) | dict(values), key_field="id")
    return name


def _is_free(field: Any) -> bool:
    return field is None or (field.info or {}).get("made_by") == _INFO["made_by"]
