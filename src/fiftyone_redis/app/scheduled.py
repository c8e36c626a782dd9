"""Operations that were scheduled: what FiftyOne's database says of them, and how they end."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import fiftyone.core.odm as foo
from bson import ObjectId
from bson.errors import InvalidId
from fiftyone.factory.repo_factory import RepositoryFactory

from fiftyone_redis.app import install
from fiftyone_redis.app.jobs import (
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    JobStopped,
    Report,
    make_title,
    tell,
)

QUEUED = "queued"

_COLLECTION = "delegated_ops"
_SECONDS = 0.5  # between two reports to the database
_SHOWN_FOR = timedelta(days=1)  # after the end
CANCELLED = "It was cancelled in the App."
_REFUSED = "Validation error."
_EXCEPTION = re.compile(r"^[\w.]+: ")  # its class, before its message
_STATES = {  # FiftyOne's words for them
    "scheduled": QUEUED,
    "queued": QUEUED,
    "running": RUNNING,
    "completed": DONE,
    "failed": FAILED,
}
_FIELDS = (
    "operator",
    "run_state",
    "status.progress",
    "status.label",
    "queued_at",
    "completed_at",
    "failed_at",
    "context.request_params.params.brain_key",
    "result.error",
    "result.result.text",
    "result.result.variant",
    "result.result.has_view",
)


def list_operations(dataset: str, most: int) -> list[dict[str, Any]]:
    """Describes the newest operations of this plugin that were scheduled for a dataset.

    One small query: the panel repeats it while it is open.

    Args:
        dataset: the id of the dataset
        most: how many to describe

    Returns:
        plain data, the newest first; operations that ended a day ago are left out
    """
    query = {
        "dataset_id": ObjectId(dataset),
        "operator": {"$regex": f"^{install.NAME}/"},
        "archived": {"$ne": True},
    }
    found = foo.get_db_conn()[_COLLECTION].find(query, dict.fromkeys(_FIELDS, True))
    rows = [_describe(each) for each in found.sort("queued_at", -1).limit(most)]
    return [row for row in rows if row["state"] in (QUEUED, RUNNING) or _is_recent(row["ended"])]


def find_result(id: str) -> dict[str, Any] | None:
    """Returns the outcome of an operation as plain data; None if it has none."""
    try:
        query = {"_id": ObjectId(id)}
    except InvalidId:
        return None
    found = foo.get_db_conn()[_COLLECTION].find_one(query, {"result.result": True}) or {}
    result: dict[str, Any] | None = (found.get("result") or {}).get("result")
    return result


def cancel(id: str) -> None:
    """Ends an operation: one that waits is not begun, one that runs stops at its next report."""
    operations = RepositoryFactory.delegated_operation_repo()
    for state in ("queued", "running"):
        operations.update_run_state(
            ObjectId(id), "failed", result=tell(CANCELLED, "error"), required_state=state
        )


def make_report(ctx: Any) -> Report:
    """Returns a function that notes the progress of the operation that runs here.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
    """
    due = 0.0
    id = ctx.request_params.get("run_doc")

    def report(progress: float, caption: str) -> None:
        nonlocal due
        if time.monotonic() < due and progress < 1:
            return
        due = time.monotonic() + _SECONDS
        ctx.set_progress(progress, caption)
        if id is not None and _was_cancelled(id):
            raise JobStopped

    return report


def _was_cancelled(id: Any) -> bool:
    found = foo.get_db_conn()[_COLLECTION].find_one({"_id": id}, {"run_state": True})
    return found is None or found["run_state"] == "failed"


def _describe(operation: dict[str, Any]) -> dict[str, Any]:
    result, status = operation.get("result") or {}, operation.get("status") or {}
    params = operation.get("context", {}).get("request_params", {}).get("params", {})
    told = result.get("result") or {}
    if result.get("error"):
        told = tell(_find_reason(result["error"]), "error")
    was_cancelled = told.get("text") == CANCELLED
    return {
        "id": str(operation["_id"]),
        "title": make_title(operation["operator"]),
        "target": params.get("brain_key") or "",
        "state": STOPPED if was_cancelled else _STATES.get(operation["run_state"], RUNNING),
        "is_scheduled": True,
        "progress": status.get("progress") or 0.0,
        "caption": status.get("label") or "",
        "text": told.get("text", ""),
        "variant": told.get("variant", "success"),
        "has_view": told.get("has_view", False),
        "ended": _to_seconds(operation.get("completed_at") or operation.get("failed_at")),
        "began": _to_seconds(operation.get("queued_at")),
    }


def _find_reason(error: str) -> str:
    """Returns the message of the exception at the end of a traceback."""
    last = error.strip().splitlines()[-1]
    # What a form refuses is "Validation error. Path: the input. Reason: its message".
    return last.rpartition(" Reason: ")[2] if _REFUSED in last else _EXCEPTION.sub("", last)


def _to_seconds(at: datetime | None) -> float:
    """Returns a time of the database, which is UTC, as seconds since 1970."""
    return at.replace(tzinfo=timezone.utc).timestamp() if at else 0.0


def _is_recent(ended: float) -> bool:
    return time.time() - ended < _SHOWN_FOR.total_seconds()
