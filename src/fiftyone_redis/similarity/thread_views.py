"""Gives every thread a view of its own.

FiftyOne hands the same cached run to all threads of a process, and each search within a view first
sets the run's view. If threads shared that view, one could search in the view of another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fiftyone.brain.similarity import SimilarityIndex

_STATES = "_thread_states"


class PerThread:
    """An attribute that every thread sets for itself.

    Args:
        make_default: returns its value in a thread that has not set it, given the object
    """

    def __init__(self, make_default: Callable[[Any], Any] = lambda _: None) -> None:
        self._make_default = make_default
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        state = _get_state(instance)
        if self._name not in state:
            state[self._name] = self._make_default(instance)
        return state[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        _get_state(instance)[self._name] = value


def _get_state(instance: Any) -> dict[str, Any]:
    """Returns the attributes that this thread has set."""
    # One step, so that two threads that come first get the same states.
    states: threading.local = vars(instance).setdefault(_STATES, threading.local())
    return vars(states)


class ThreadViews(SimilarityIndex):
    """The part of a similarity index that keeps the current view, one for each thread.

    A thread that has not called :meth:`use_view` searches the whole dataset. What other threads add
    or remove is among :attr:`current_sample_ids` and :attr:`current_label_ids` after a
    :meth:`reload`.
    """

    _curr_view = PerThread(lambda index: index._samples)
    _curr_view_allow_missing = PerThread(lambda _: True)
    _curr_view_warn_missing = PerThread(lambda _: False)
    _last_view = PerThread()
    _last_views = PerThread(lambda _: [])
    _curr_sample_ids = PerThread()
    _curr_label_ids = PerThread()
    _curr_keep_inds = PerThread()
    _curr_missing_size = PerThread()
