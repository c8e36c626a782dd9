"""Ids of samples and labels: as text, as FiftyOne's arrays, and missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from bson import ObjectId

from fiftyone_redis.errors import InputError, list_first, name_missing
from fiftyone_redis.log import get_logger

_KINDS = (str, ObjectId)

logger = get_logger(__name__)


def strings(ids: Any) -> list[str]:
    """Returns one id, or several, as a list of text.

    Raises:
        InputError: if they are no ids, such as those of samples that are in no dataset
    """
    if isinstance(ids, np.ndarray) and ids.ndim == 0:
        ids = ids.item()
    if isinstance(ids, _KINDS):
        return [str(ids)]
    if not isinstance(ids, Iterable) or isinstance(ids, bytes):
        raise InputError(f"Provide an id, or several, not {type(ids).__name__}.")
    given = list(ids)
    wrong = sorted(kind.__name__ for kind in {*map(type, given)} if not issubclass(kind, _KINDS))
    if wrong:
        raise InputError(f"The ids must be text or ObjectIds; they hold {list_first(wrong)}.")
    return [*map(str, given)]


def id_array(ids: Sequence[str]) -> Any:
    """Returns ids as FiftyOne represents them: an array of text."""
    return np.array(ids, dtype=np.str_)


def report_missing(
    ids: Sequence[str], found: Iterable[str], allow_missing: bool, warn_missing: bool = False
) -> None:
    """Raises, warns or does nothing about ids that are not in the index.

    Args:
        ids: the ids that were asked for
        found: those that are in the index
        allow_missing: False to raise an error
        warn_missing: True to log a warning, if they are allowed

    Raises:
        InputError: if there are missing ids and they are not allowed
    """
    there = set(found)
    missing = [id for id in ids if id not in there]
    if not missing:
        return
    if not allow_missing:
        raise InputError(f"Found {name_missing(missing)}; add them, or call index.sync().")
    if warn_missing:
        logger.warning("Ignoring %s", name_missing(missing))
