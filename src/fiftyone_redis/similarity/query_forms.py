"""The forms in which queries and thresholds are given, by scripts and by the App."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from bson import ObjectId

from fiftyone_redis.engine.vectors.encoding import Array
from fiftyone_redis.errors import InputError, list_first

_FORMS = "an id, a vector, a prompt, or several of one kind"
_QUOTED = 60  # characters
_TEXT = (str, ObjectId)


def read_query(query: Any) -> str | list[str] | Array:
    """Returns a query as text (an id or a prompt), several texts, or an array of numbers.

    Args:
        query: an id, a prompt or a vector, or an iterable of ids, of prompts or of vectors

    Raises:
        InputError: if it is none of these
    """
    if isinstance(query, _TEXT):
        return str(query)
    items = _read_items(query)
    if len(items) == 0:
        raise InputError(f"The query is empty; provide {_FORMS}.")
    if isinstance(items, np.ndarray) and items.dtype.kind in "fiuc":
        return items
    kinds = {type(each).__name__ for each in items}
    if not all(isinstance(each, _TEXT) for each in items):
        raise InputError(f"The query must be {_FORMS}; it holds {list_first(sorted(kinds))}.")
    return [str(each) for each in items]


def read_number(name: str, value: Any) -> float:
    """Returns a threshold or a fraction as a float.

    Raises:
        InputError: if it is not a number
    """
    if not _is_number(value) or math.isnan(value):
        raise InputError(f"{name} must be a number, not {value!r}.")
    return float(value)


def shorten(text: str) -> str:
    """Returns the first characters of a text, as an error message quotes it."""
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")


def _read_items(query: Any) -> list[Any] | Array:
    """Returns what a query holds: a list if it holds text, else an array."""
    is_array = hasattr(query, "__array__")
    if not is_array and (not isinstance(query, Iterable) or isinstance(query, (bytes, bytearray))):
        raise InputError(f"The query must be {_FORMS}, not {type(query).__name__}.")
    try:
        items = query if is_array else list(query)
        if not is_array and any(isinstance(each, _TEXT) for each in items):
            return list(items)
        array: Array = np.atleast_1d(np.asarray(items))
        if array.dtype == object and all(_is_number(each) for each in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"The query cannot be read ({error}); provide {_FORMS}.") from error
    return array


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
