"""What the panel says of the server: what it is, that it is stopped, or what is wrong with it."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app.markdown import escape


def paint(panel: Any, state: Any) -> None:
    """Paints the state of the server, and warnings.

    Args:
        panel: the panel's ``types.Object``
        state: the panel's state
    """
    if state.stopped:
        _paint_stopped(panel)
    elif state.problem:
        _paint_problem(panel, state.problem)
    elif state.server:
        _paint_server(panel, state.server)
    for number, problem in enumerate(state.problems or []):
        warning = types.AlertView(severity="warning")
        panel.str(f"warning_{number}", default=problem, label=escape(problem), view=warning)


def _paint_server(panel: Any, server: dict[str, Any]) -> None:
    panel.md(
        f"**{server['version']}** at `{server['address']}` · user {server['login']} · "
        f"memory {server['memory']}",
        name="server_text",
    )


def _paint_stopped(panel: Any) -> None:
    view = types.AlertView(severity="info")
    text = "It keeps its indexes on disk. Start it to search them."
    panel.str("stopped_text", label="The private server is stopped", description=text, view=view)


def _paint_problem(panel: Any, problem: str) -> None:
    view = types.AlertView(severity="error")
    panel.str(
        "problem_text", label="Redis cannot be used now", description=escape(problem), view=view
    )
    panel.md("`fiftyone-redis doctor` says more. Once fixed, press **Refresh**.", name="advice")
