"""The plugin for the FiftyOne App: a panel and operators."""

from __future__ import annotations

OPERATORS: tuple[str, ...] = (
    "create_index",
    "add_missing",
    "remove_gone",
    "rebuild_index",
    "rename_index",
    "drop_index",
    "search_with_picture",
    "find_near_duplicates",
    "delete_near_duplicates",
    "show_missing",
    "measure_distances",
    "compute_visualization",
    "watch_jobs",
    "finish_job",
)
"""The names of the plugin's operators, for the manifest."""

PANELS: tuple[str, ...] = ("redis",)
"""The names of the plugin's panels, for the manifest."""
