"""The part of the panel that lists jobs: those that run or wait, and how others have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import jobs, scheduled
from fiftyone_redis.app.jobs import FAILED, RUNNING, STOPPED, Job
from fiftyone_redis.app.markdown import escape
from fiftyone_redis.app.scheduled import QUEUED

Event = Callable[[Any], None]

_MOST_ENDED = 5
_MOST_SCHEDULED = 20
_BUSY, _IDLE = 1000, 10_000  # milliseconds between two looks
_WAITS = "Scheduled; it waits until `fiftyone delegated launch` begins it."

_ROW = {
    "grid": {
        "sx": {
            "display": "flex",
            "alignItems": "center",
            "gap": 2,
        }
    }
}
_WIDE = {"item": {"sx": {"flexGrow": 1, "minWidth": 0}}, "grid": {"sx": {"display": "block"}}}
_BUTTON = {"item": {"sx": {"width": "auto", "flexShrink": 0}}}
_SEVERITIES = {FAILED: "error", STOPPED: "info"}

_cleared: dict[str, float] = {}  # when the list of a dataset was cleared


def read(ctx: Any) -> list[dict[str, Any]]:
    """Returns the jobs of the dataset as plain data: active ones, then the newest others.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
    """
    if ctx.dataset is None:
        return []
    dataset = str(ctx.dataset._doc.id)
    rows = [_describe(job) for job in jobs.list_jobs(dataset)]
    rows += scheduled.list_operations(dataset, _MOST_SCHEDULED)
    rows.sort(key=lambda row: row["began"], reverse=True)
    ended = [row for row in rows if not is_active(row) and row["ended"] > _cleared.get(dataset, 0)]
    ended.sort(key=lambda row: row["ended"], reverse=True)
    return [row for row in rows if is_active(row)] + ended[:_MOST_ENDED]


def is_active(row: dict[str, Any]) -> bool:
    """Returns whether a job runs or waits."""
    return row["state"] in (RUNNING, QUEUED)


def has_active(rows: list[dict[str, Any]] | None) -> bool:
    """Returns whether any of the jobs runs or waits."""
    return any(map(is_active, rows or []))


def lacks_active(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Returns whether another list has an active job that this one lacks, which is older then."""
    known = {row["id"] for row in rows}
    return any(is_active(row) and row["id"] not in known for row in others)


def is_running(rows: list[dict[str, Any]] | None, operator: str, target: str) -> bool:
    """Returns whether any of the jobs is that of an operator on an index, and runs or waits."""
    wanted = (jobs.make_title(operator), target)
    return any(is_active(row) and (row["title"], row["target"]) == wanted for row in rows or [])


def find_ended(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the jobs that have ended between two readings of the list."""
    left = {row["id"] for row in now if is_active(row)}
    now_of = {row["id"]: row for row in now}
    gone = [row for row in before if is_active(row) and row["id"] not in left]
    return [now_of.get(row["id"], row) for row in gone]


def cancel(ctx: Any) -> None:
    """Stops the job whose button was pressed."""
    stop = scheduled.cancel if ctx.params["is_scheduled"] else jobs.cancel
    stop(ctx.params["id"])


def show(ctx: Any, row: dict[str, Any] | None = None) -> None:
    """Shows what the job has found whose button was pressed.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        row (None): another job, whose view is not to be shown
    """
    asked = row or ctx.params
    if asked["is_scheduled"]:
        result = scheduled.find_result(asked["id"])
    else:
        job = jobs.find(asked["id"])
        result = job.result if job is not None else None
    if result:
        jobs.send(ctx, result, with_view=row is None)


def clear(ctx: Any) -> None:
    """Takes all jobs off the list that have ended."""
    dataset = str(ctx.dataset._doc.id)
    jobs.forget_ended(dataset)
    ends = [row["ended"] for row in read(ctx) if not is_active(row)]
    _cleared[dataset] = max(ends, default=0.0)


def paint_active(panel: Any, rows: list[dict[str, Any]], cancel: Event) -> None:
    """Paints the jobs that run or wait.

    Args:
        panel: the ``types.Object`` of the panel
        rows: the jobs, from :func:`read`
        cancel: called with the parameters ``id`` and ``is_scheduled``
    """
    for row in filter(is_active, rows):
        _paint_active(panel, row, cancel)


def paint_ended(panel: Any, rows: list[dict[str, Any]], *, show: Event, clear: Event) -> None:
    """Paints how other jobs have ended.

    Args:
        panel: the ``types.Object`` of the panel
        rows: the jobs, from :func:`read`
        show: called with the parameters ``id`` and ``is_scheduled``, to show what a job has found
        clear: called to take these jobs off the list
    """
    ended = [row for row in rows if not is_active(row)]
    for row in ended:
        _paint_ended(panel, row, show)
    if ended:
        panel.btn(
            "clear_jobs", "Clear finished jobs", icon="clear_all", on_click=clear, variant="text"
        )


def keep_looking(panel: Any, rows: list[dict[str, Any]], look: Event) -> None:
    """Has the page look for changes, often while a job runs or waits."""
    interval = _BUSY if has_active(rows) else _IDLE
    panel.obj("timer", view=types.TimerView(interval=interval, on_interval=look))


def _describe(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "title": job.title,
        "target": job.target,
        "state": job.state,
        "is_scheduled": False,
        "progress": job.progress,
        "caption": "Stopping" if job.stopped_by and job.state == RUNNING else job.caption,
        "text": job.result.get("text", ""),
        "variant": job.result.get("variant", ""),
        "has_view": job.result.get("has_view", False),
        "ended": job.ended,
        "began": job.began,
    }


def _paint_active(panel: Any, row: dict[str, Any], cancel: Event) -> None:
    line = panel.h_stack(f"job_{row['id']}", componentsProps=_ROW)
    name = f"**{row['title']}** `{row['target']}`"
    text = line.v_stack("text", gap=0, componentsProps=_WIDE)
    if row["state"] == QUEUED:
        text.md(f"{name}  \n{_WAITS}", name="name")
    else:
        text.md(name, name="name")
        bar = types.ProgressView(label=row["caption"])
        text.float("bar", default=row["progress"] or None, view=bar)
    _paint_button(line, "cancel", "Cancel", "close", cancel, row)


def _paint_ended(panel: Any, row: dict[str, Any], show: Event) -> None:
    severity = _SEVERITIES.get(row["state"], row["variant"] or "success")
    line = panel.h_stack(f"job_{row['id']}", componentsProps=_ROW)
    view = types.AlertView(severity=severity, componentsProps=_WIDE)
    title = f"{row['title']}: {row['target']}"
    line.str("ended", label=title, description=escape(row["text"]), view=view)
    if row["has_view"]:
        _paint_button(line, "show", "Show", "visibility", show, row)


def _paint_button(
    line: Any, name: str, label: str, icon: str, on_click: Event, row: dict[str, Any]
) -> None:
    line.btn(
        name,
        label,
        icon=icon,
        variant="outlined",
        on_click=on_click,
        params={"id": row["id"], "is_scheduled": row["is_scheduled"]},
        componentsProps=_BUTTON,
    )
