"""Adds the settings of an index to the signature and the docstring of a config class."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from fiftyone_redis.engine.options import OPTIONS, Option

T = TypeVar("T")

_PLACE = "        {options}\n"
_WIDTH = 100


def take_options(init: Callable[..., None]) -> Callable[..., None]:
    """Decorates a constructor, which then takes every setting as a keyword, None by default.

    Args:
        init: a constructor whose first argument is a mapping of all settings to the given values;
            the keywords are inserted after its second argument
    """
    own = inspect.signature(init)
    me, _, first, *others = own.parameters.values()
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    settings = [
        inspect.Parameter(name, kind, default=None, annotation=f"{_type(option)} | None")
        for name, option in OPTIONS.items()
    ]
    signature = own.replace(parameters=[me, first, *settings, *others])

    @wraps(init)
    def take(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        given = {name: bound.arguments.pop(name, None) for name in OPTIONS}
        (instance, *rest), named = bound.args, bound.kwargs
        init(instance, given, *rest, **named)

    take.__signature__ = signature  # type: ignore[attr-defined]
    return take


def document_options(described: type[T]) -> type[T]:
    """Decorates a class: replaces ``{options}`` in its docstring with the settings."""
    lines = "".join(_lines(option) for option in OPTIONS.values())
    described.__doc__ = (described.__doc__ or "").replace(_PLACE, lines)
    return described


def _type(option: Option) -> str:
    return type(option.default).__name__


def _lines(option: Option) -> str:
    """Formats a setting as an argument in a docstring."""
    of = f"{option.algorithm}: " if option.algorithm else ""
    text = f"{option.name} (None): {of}{option.text}; ``{option.default!r}`` by default"
    if option.choices:
        text += f". Supported values are ``{tuple(option.choices)}``"
    indent = " " * 8
    return (
        textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    ") + "\n"
    )
