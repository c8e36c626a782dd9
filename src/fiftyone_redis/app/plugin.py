"""The plugin's entry point, which FiftyOne calls."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import panel
from fiftyone_redis.app.operators import (
    delete_duplicates,
    duplicates,
    jobs,
    manage,
    measure,
    search,
    show_missing,
    visualize,
)

_MODULES = (manage, search, duplicates, delete_duplicates, show_missing, measure, visualize)

OPERATORS = tuple(operator for module in _MODULES for operator in module.OPERATORS)
"""The operators with a form."""


def register(plugin: Any) -> None:
    """Registers every operator and panel.

    Args:
        plugin: FiftyOne's :class:`fiftyone.plugins.context.PluginContext`
    """
    for kind in (*OPERATORS, *jobs.OPERATORS, *panel.PANELS):
        plugin.register(kind)
