"""The keywords of a config class: those of the settings of an index, and unknown ones."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Real
from typing import Any, TypeVar

from fiftyone.brain.similarity import SimilarityConfig

from fiftyone_redis import settings
from fiftyone_redis.engine.schema.options import OPTIONS, Option
from fiftyone_redis.errors import SettingsError, list_unknown

T = TypeVar("T")

_PLACE = re.compile(r"^( *)\{options\}\n", re.MULTILINE)
_WIDTH = 100
_LONGEST = 1_000_000  # seconds; many more cannot be waited for on a socket
_BASE_PARAMETERS = frozenset(inspect.signature(SimilarityConfig).parameters) - {"kwargs"}


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
        given = {
            name: option.normalize(bound.arguments.pop(name, None))
            for name, option in OPTIONS.items()
        }
        (instance, *rest), named = bound.args, bound.kwargs
        init(instance, given, *rest, **named)

    take.__signature__ = signature  # type: ignore[attr-defined]
    return take


def refuse_unknown(config: type[SimilarityConfig], keywords: Mapping[str, Any]) -> None:
    """Raises if keywords are unknown: FiftyOne would save them in the run, secrets included.

    Args:
        config: the class of the config, which takes its own keywords and the connection settings
        keywords: all other keywords that it was given

    Raises:
        SettingsError: if there are unknown ones
    """
    unknown = keywords.keys() - _BASE_PARAMETERS
    if unknown:
        known = {*inspect.signature(config).parameters, *settings.NAMES, *_BASE_PARAMETERS}
        raise SettingsError(
            f"Unknown parameters of the redis backend: {list_unknown(unknown, known)}; check their "
            "names."
        )


def check_timeout(seconds: Any) -> None:
    """Raises a :class:`SettingsError` unless a time limit of queries is None or can be waited for.

    Args:
        seconds: the time limit
    """
    if seconds is None:
        return
    is_number = isinstance(seconds, Real) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds <= _LONGEST:
        raise SettingsError(
            f"query_timeout must be more than 0 s and at most {_LONGEST:,} s, not {seconds!r}."
        )


def document_options(described: type[T]) -> type[T]:
    """Decorates a class: replaces ``{options}`` in its docstring with the settings."""

    def format_options(place: re.Match[str]) -> str:
        # Since Python 3.13, docstrings are not as indented as they are written.
        return "".join(_lines(option, place[1]) for option in OPTIONS.values())

    described.__doc__ = _PLACE.sub(format_options, described.__doc__ or "")
    return described


def _type(option: Option) -> str:
    return type(option.default).__name__


def _lines(option: Option, indent: str) -> str:
    """Formats a setting as an argument in a docstring."""
    of = f"{option.algorithm}: " if option.algorithm else ""
    text = f"{option.name} (None): {of}{option.text}; ``{option.default!r}`` by default"
    if option.choices:
        text += f". Supported values are ``{tuple(option.choices)}``"
    return (
        textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    ") + "\n"
    )
