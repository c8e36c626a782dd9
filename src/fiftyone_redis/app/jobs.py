"""Long work in threads of the App's server, which the panel lists and can stop.

A job belongs to the page that started it. The page holds a request open as long as it is there
(``operators/jobs.py``); when it is closed, its jobs are stopped. A job is stopped by an exception
that its next report raises, so between two batches.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fiftyone_redis.errors import FiftyOneRedisError, InputError
from fiftyone_redis.log import get_logger

Report = Callable[[float, str], None]
"""Called with the share of the work that is done, 0..1, and a description of the work.

It raises :class:`JobStopped` if the work is to end.
"""

RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"

EXPECTED = (FiftyOneRedisError, ValueError)
"""Errors whose text is for the user; FiftyOne raises ValueError if an input does not fit."""

_ARRIVES_WITHIN = 10.0  # seconds for a page to open its request after it has started a job
_TITLES = {  # of operators whose name in the App is not that in the code
    "add_missing": "Index missing samples",
    "create_index": "Create an index",
    "drop_index": "Drop",
    "rebuild_index": "Rebuild",
    "remove_gone": "Remove stale vectors",
    "rename_index": "Rename",
    "search_with_picture": "Search with a picture",
    "show_missing": "Show missing samples",
}
_KEEPING = {"Create an index", "Index missing samples", "Measure distances"}  # if stopped
_MOST_ENDED = 50  # jobs that are remembered
_PAGE_CLOSED = "stopped, since the page that started it was closed"
_CANCELLED = "cancelled"

logger = get_logger(__name__)


class JobStopped(BaseException):
    """Ends the work of a job; no ``except Exception`` of a library takes it for a failure."""


@dataclass(frozen=True)
class Outcome:
    """The result of some work.

    Args:
        text: a sentence about the result
        then: messages to send to the App afterwards, from ``ctx.ops`` or ``ctx.trigger()``
        variant: "success", "warning" if not all was done that was asked for, or "info" if there
            was nothing to do
    """

    text: str
    then: list[Any] = field(default_factory=list)
    variant: str = "success"

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain data."""
        then = [[message.body.operator_uri, message.body.params] for message in self.then]
        has_view = any(uri == "set_view" for uri, _ in then)
        return {"text": self.text, "variant": self.variant, "then": then, "has_view": has_view}


@dataclass
class Job:
    """Some work that runs in a thread, or did.

    Args:
        title: what it does, such as "Rebuild"
        target: the brain key that it is about
        dataset: the id of the dataset
        page: the page that started it
    """

    title: str
    target: str
    dataset: str
    page: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = RUNNING
    progress: float = 0.0
    caption: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    is_over: threading.Event = field(default_factory=threading.Event)
    is_told: bool = False
    stopped_by: str = ""

    def report(self, progress: float, caption: str) -> None:
        """Notes the progress.

        Raises:
            JobStopped: if the job was cancelled, or its page closed
        """
        if not self.stopped_by and self._is_abandoned():
            self.stopped_by = _PAGE_CLOSED
        if self.stopped_by:
            raise JobStopped
        self.progress, self.caption = progress, caption

    def _is_abandoned(self) -> bool:
        return self.page not in _held and time.time() - self.began > _ARRIVES_WITHIN

    def finish(self, name: str, future: Future[Outcome]) -> None:
        """Notes how the work has ended."""
        error = future.exception()
        if isinstance(error, JobStopped):
            text = f"{self.title!r} was {self.stopped_by}."
            text += " What it had done before is kept." if self.title in _KEEPING else ""
            self.state, self.result = STOPPED, tell(text, "info")
        elif isinstance(error, EXPECTED):
            self.state, self.result = FAILED, tell(f"{name} failed: {error}", "error")
        elif error is not None:
            logger.error("%s of %r failed", name, self.target, exc_info=error)
            text = f"{name} failed, and the App's server has logged why: {error!r}"
            self.state, self.result = FAILED, tell(text, "error")
        else:
            self.state, self.result = DONE, future.result().to_dict()
        self.ended = time.time()
        self.is_over.set()


def make_title(operator: str) -> str:
    """Returns what the list of jobs calls an operator, such as "Find near duplicates"."""
    name = operator.rpartition("/")[2]
    return _TITLES.get(name) or name.replace("_", " ").capitalize()


_jobs: dict[str, Job] = {}
_held: set[str] = set()  # the pages whose requests are open
_lock = threading.Lock()


def start(job: Job, name: str, work: Callable[[Report], Outcome]) -> None:
    """Starts the work of a job in a thread.

    Args:
        job: the job
        name: what the work is called in a sentence, such as "Create"
        work: the work

    Raises:
        InputError: if the same is done already
    """
    with _lock:
        for other in _jobs.values():
            same = (other.title, other.target, other.dataset)
            if other.state == RUNNING and same == (job.title, job.target, job.dataset):
                raise InputError(
                    f"{job.title}: this runs already; wait for it, or cancel it in the panel."
                )
        ended = [other.id for other in _jobs.values() if other.is_told]
        for id in ended[:-_MOST_ENDED]:
            del _jobs[id]
        _jobs[job.id] = job
    pool = ThreadPoolExecutor(1, thread_name_prefix="fiftyone-redis-job")
    pool.submit(work, job.report).add_done_callback(lambda future: job.finish(name, future))
    pool.shutdown(wait=False)


def find(id: str) -> Job | None:
    """Returns a job by its id; None if it was forgotten."""
    return _jobs.get(id)


def list_jobs(dataset: str) -> list[Job]:
    """Returns the jobs of a dataset, the newest first."""
    found = [job for job in list(_jobs.values()) if job.dataset == dataset]
    return sorted(found, key=lambda job: job.began, reverse=True)


def cancel(id: str) -> None:
    """Stops a job at its next report."""
    job = _jobs.get(id)
    if job is not None:
        job.stopped_by = _CANCELLED


def forget_ended(dataset: str) -> None:
    """Forgets the jobs of a dataset that have ended."""
    for job in list_jobs(dataset):
        if job.state != RUNNING:
            _jobs.pop(job.id, None)


def hold(page: str) -> bool:
    """Notes that a page is there; returns False if that is known already."""
    with _lock:
        if page in _held:
            return False
        _held.add(page)
        return True


def let_go(page: str) -> None:
    """Notes that a page was closed, and stops its jobs."""
    with _lock:
        _held.discard(page)
        for job in _jobs.values():
            if job.page == page and job.state == RUNNING and not job.stopped_by:
                job.stopped_by = _PAGE_CLOSED


def let_go_if_idle(page: str) -> bool:
    """Lets a page go unless it has jobs that run or whose end it was not told; tells whether so."""
    with _lock:
        if any(job.page == page and not job.is_told for job in _jobs.values()):
            return False
        _held.discard(page)
        return True


def take_ended(page: str) -> list[Job]:
    """Returns the jobs of a page that have ended and were not returned before."""
    with _lock:
        found = [job for job in _jobs.values() if job.page == page and _is_untold(job)]
        for job in found:
            job.is_told = True
        return found


def send(ctx: Any, result: dict[str, Any], with_view: bool = True) -> list[Any]:
    """Returns the messages that show a result in the App; a generator yields them.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        result: an outcome as plain data
        with_view (True): whether to show the view that was found
    """
    then = result["then"]
    return [ctx.trigger(uri, params) for uri, params in then if with_view or uri != "set_view"]


def _is_untold(job: Job) -> bool:
    return job.is_over.is_set() and not job.is_told


def tell(text: str, variant: str) -> dict[str, Any]:
    """Returns an outcome that is a message alone, as plain data."""
    return Outcome(text, variant=variant).to_dict()
