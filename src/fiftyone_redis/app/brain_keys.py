"""The brain keys of new runs."""

from __future__ import annotations

import re
from typing import Any


def choose_free(dataset: Any, wanted: str = "redis") -> str:
    """Returns an unused brain key: the wanted one, or that with a number."""
    taken = set(dataset.list_brain_runs())
    keys = (wanted, *(f"{wanted}_{number}" for number in range(2, len(taken) + 3)))
    return next(key for key in keys if key not in taken)


def find_problem(dataset: Any, key: str) -> str | None:
    """Returns why a new run cannot have a brain key, or None if it can."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        return "A brain key has letters, digits and underscores only, and no digit first."
    if dataset.has_brain_run(key):
        return f"The dataset has a brain run {key!r} already; choose another name."
    return None
