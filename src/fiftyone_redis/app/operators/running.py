"""Runs the work of operators: as a job of the App, as a delegated operation, or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fiftyone_redis.app import jobs, scheduled
from fiftyone_redis.app.jobs import EXPECTED, JobStopped, Outcome, Report, make_title
from fiftyone_redis.app.operators.jobs import WATCH, make_job
from fiftyone_redis.errors import InputError

__all__ = ["Outcome", "run_with_progress"]

_QUICK = 0.7  # seconds; shorter work is not worth a line in the panel


def run_with_progress(ctx: Any, name: str, work: Callable[[Report], Outcome]) -> Any:
    """Runs work. Started in the App it becomes a job, unless it ends at once.

    Without a page that could show a job, the work runs here: for a delegated operation, which
    reports its progress to FiftyOne, and for a call of ``fiftyone.operators.execute_operator()``.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        name: what the work is called in a sentence, such as "Create"
        work: the work to run

    Returns:
        messages for the App, or the outcome as plain data

    Raises:
        FiftyOneRedisError: if work that runs here fails
        ValueError: the same
    """
    if ctx.delegated:
        try:
            return work(scheduled.make_report(ctx)).to_dict()
        except JobStopped:
            raise InputError(scheduled.CANCELLED) from None
    if "operator_uri" not in ctx.request_params:
        return work(ctx.set_progress).to_dict()
    return _run_as_job(ctx, name, work)


def _run_as_job(ctx: Any, name: str, work: Callable[[Report], Outcome]) -> Iterator[Any]:
    title = make_title(ctx.request_params["operator_uri"])
    job = make_job(ctx, title, ctx.params.get("brain_key") or "")
    try:
        jobs.start(job, name, work)
    except EXPECTED as error:
        yield ctx.ops.notify(str(error), "error")
        return
    if not job.is_over.wait(_QUICK):
        if ctx.panel_id is None:
            yield ctx.ops.notify(f"{title!r} runs; see the panel Redis Similarity Indexes.", "info")
        yield ctx.trigger(WATCH, {"page": job.page})
        return
    job.is_told = True
    yield ctx.ops.notify(job.result["text"], job.result["variant"])
    yield from jobs.send(ctx, job.result)
