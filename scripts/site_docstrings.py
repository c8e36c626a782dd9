"""Makes the docstrings of this package fit for the site: Griffe reads them, and imports nothing."""

from __future__ import annotations

import re
from typing import Any

import griffe

_OPTIONS = (
    "metric, algorithm, … (None): the [settings](settings.md#settings-of-an-index) of the index"
)
_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod):`~?([^`]+?)`")


class Docstrings(griffe.Extension):
    """Links to the settings of an index, and turns Sphinx's roles into code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of one object."""
        del kwargs
        if obj.docstring is not None:
            text = obj.docstring.value.replace("{options}", _OPTIONS)
            obj.docstring.value = _ROLE.sub(_code, text)


def _code(role: re.Match[str]) -> str:
    return f"`{role[1].rsplit('.', 1)[-1]}`"
