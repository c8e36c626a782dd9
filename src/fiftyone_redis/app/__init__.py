"""The plugin for the FiftyOne App: a panel and operators."""

from __future__ import annotations

OPERATORS: tuple[str, ...] = ()
"""The names of the plugin's operators, which FiftyOne wants to know before it loads them."""

PANELS: tuple[str, ...] = ()
"""The names of the plugin's panels."""
