"""What the page does about jobs by itself: it says that it is there, and shows what they found."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import fiftyone.operators as foo

from fiftyone_redis.app import install, jobs
from fiftyone_redis.app.jobs import Job

WATCH = f"{install.NAME}/watch_jobs"
FINISH = f"{install.NAME}/finish_job"

_SECONDS = 0.2  # between two looks at the jobs


class WatchJobs(foo.Operator):
    """Keeps a request open while a page has jobs, so that they stop when the page is closed."""

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name="watch_jobs",
            label="Redis: Watch jobs",
            execute_as_generator=True,
            unlisted=True,
            risk_level="low",
        )

    def execute(self, ctx: Any) -> AsyncIterator[Any]:
        """Yields a message for each job that ends. The server cancels it if the page is closed."""
        return _watch(ctx, ctx.params["page"])


async def _watch(ctx: Any, page: str) -> AsyncIterator[Any]:
    if not jobs.hold(page):
        return
    is_idle = False
    try:
        while not is_idle:
            for job in jobs.take_ended(page):
                yield ctx.trigger(FINISH, {"job": job.id})
            is_idle = jobs.let_go_if_idle(page)
            if not is_idle:
                await asyncio.sleep(_SECONDS)
    finally:
        if not is_idle:
            jobs.let_go(page)


class FinishJob(foo.Operator):
    """Says how a job has ended, and shows what it found."""

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name="finish_job", label="Redis: Finish a job", unlisted=True, risk_level="low"
        )

    def execute(self, ctx: Any) -> None:
        """Sends the messages of a job to the page."""
        job = jobs.find(ctx.params["job"])
        if job is None:
            return
        ctx.ops.notify(job.result["text"], job.result["variant"])
        # The page may show another dataset by now.
        if ctx.dataset is not None and str(ctx.dataset._doc.id) == job.dataset:
            jobs.send(ctx, job.result)


OPERATORS = (WatchJobs, FinishJob)


def make_job(ctx: Any, title: str, target: str) -> Job:
    """Returns a job that belongs to the page of a call.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        title: what it does
        target: the brain key that it is about
    """
    page = ctx.params.get("page") or uuid.uuid4().hex
    return Job(title, target, str(ctx.dataset._doc.id), page)
