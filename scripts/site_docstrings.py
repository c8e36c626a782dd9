"""Makes the docstrings of this package fit for the site: Griffe reads them, and imports nothing."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SETTINGS = "It also takes the [settings of an index](settings.md#settings-of-an-index).\n\nArgs:\n"
_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod):`~?([^`]+?)`")
# In FiftyOne's style the default stands where Google's has the type, which the signature says too.
_DEFAULT = re.compile(r"^(    \*{0,2}\w+) \([^)]+\):", re.MULTILINE)
_TREE = re.compile(r"^\w+\n(?:[├│└].*\n)+", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Links to the settings of an index, and turns what only the code understands into Markdown."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring of one object."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Replaces the definition of a setting by its default value."""
        del kwargs
        if isinstance(attr.value, griffe.ExprCall) and str(attr.value.function) == "_option":
            attr.value = attr.value.arguments[0]

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Removes the parameter that a decorator replaces by the settings of an index."""
        del kwargs
        if any("take_options" in str(each.value) for each in func.decorators):
            del func.parameters["options"]


def to_markdown(docstring: str) -> str:
    """Returns a docstring in Markdown."""
    if "{options}" in docstring:
        docstring = docstring.replace("    {options}\n", "").replace("Args:\n", _SETTINGS)
    docstring = _TREE.sub(lambda tree: f"```text\n{tree[0]}```\n", docstring)
    docstring = _DEFAULT.sub(r"\1:", docstring)
    return _ROLE.sub(lambda role: f"`{role[1].rsplit('.', 1)[-1]}`", docstring)
