"""Ids of samples and labels: as text, as FiftyOne's arrays, and missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fiftyone_redis.errors import InputError, name_missing
from fiftyone_redis.log import get_logger

logger = get_logger(__name__)


def strings(ids: Any) -> list[str]:
    """Returns one id, or several, as a list of text."""
    if isinstance(ids, str):
        return [str(ids)]
    return [str(id) for id in ids]


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
