"""What FiftyOne calls to learn of the plugin's operators and panels."""

from __future__ import annotations

from typing import Any


def register(plugin: Any) -> None:
    """Registers every operator and panel.

    Args:
        plugin: FiftyOne's :class:`fiftyone.plugins.context.PluginContext`
    """
