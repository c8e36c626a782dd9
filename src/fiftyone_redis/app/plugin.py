"""The plugin's entry point, which FiftyOne calls."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import panel
from fiftyone_redis.app.operators import duplicates, jobs, manage, search


def register(plugin: Any) -> None:
    """Registers every operator and panel.

    Args:
        plugin: FiftyOne's :class:`fiftyone.plugins.context.PluginContext`
    """
    operators = (*manage.OPERATORS, *search.OPERATORS, *duplicates.OPERATORS, *jobs.OPERATORS)
    for kind in (*operators, *panel.PANELS):
        plugin.register(kind)
