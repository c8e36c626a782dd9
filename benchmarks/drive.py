"""Runs a worker process, reads what it reports, and goes on after a work that failed.

A backend may raise, hang or take its process down. The work that did is reported with the reason,
and a new process does the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobs import ENVIRONMENT, Figures, Job

HERE = Path(__file__).parent
NO_TIME = "no time was left for it"

_WORK_SECONDS = 240.0
_END_SECONDS = 30.0
_LONGEST_REASON = 200
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Worker:
    """How a worker process is started.

    Args:
        script: its file, beside this one
        python: the Python to run it with
        variables: its environment variables
        deadline: when all has to be over, by ``time.monotonic()``
    """

    script: str
    python: Path
    variables: Mapping[str, str]
    deadline: float

    @property
    def seconds_left(self) -> float:
        """How long one work may take."""
        return min(_WORK_SECONDS, self.deadline - time.monotonic())


def run(worker: Worker, job: Job) -> dict[str, Figures]:
    """Does all works of a job.

    Returns:
        each work's figures, or ``{"error": reason}``
    """
    figures: dict[str, Figures] = {}
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    left = job.works
    failed: str | None = ""
    try:
        while left and failed is not None:
            log = folder / f"worker-{len(figures)}.log"
            failed = _process(worker, replace(job, works=left), log, figures)
            if failed is not None:
                figures.setdefault(failed, {"error": _reason(log)})
            left = () if failed == ENVIRONMENT else tuple(w for w in left if w not in figures)
            if worker.seconds_left <= 0:
                figures |= {work: {"error": NO_TIME} for work in left}
                left = ()
    finally:
        if failed is not None:
            # A process that does nothing but end well stops the server that another one left.
            _process(worker, replace(job, works=()), folder / "end.log", {})
    return figures


def _process(worker: Worker, job: Job, log: Path, figures: dict[str, Figures]) -> str | None:
    """Runs one process, adds to the figures, and returns the work during which it failed."""
    reading, writing = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(worker.python), str(HERE / worker.script), job.dumps(), str(writing)],
            stdout=output,
            stderr=output,
            env=dict(worker.variables),
            cwd=job.folder,
            pass_fds=(writing,),
        )
    os.close(writing)
    begun = job.works[0] if job.works else ""
    alarm = _Alarm(process, worker.seconds_left if job.works else _END_SECONDS)
    try:
        with os.fdopen(reading, encoding="utf-8") as reports:
            for line in reports:
                alarm.restart(worker.seconds_left)
                message = json.loads(line)
                begun = message.get("begun", begun)
                if "done" in message:
                    figures[message["done"]] = message["figures"]
            code = process.wait()
    finally:
        alarm.stop()
        process.kill()
        process.wait()
    if alarm.rang:
        over = f"it took more than {_WORK_SECONDS:.0f} s"
        figures[begun] = {"error": over if worker.seconds_left > 0 else NO_TIME}
    return begun if code else None


class _Alarm:
    """Kills a process that has not been heard of for some time."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.rang = False
        self._process = process
        self._timer = self._started(seconds)

    def restart(self, seconds: float) -> None:
        self.stop()
        self._timer = self._started(seconds)

    def stop(self) -> None:
        self._timer.cancel()

    def _started(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(max(0.0, seconds), self._ring)
        timer.daemon = True
        timer.start()
        return timer

    def _ring(self) -> None:
        self.rang = True
        self._process.kill()


def _reason(log: Path) -> str:
    """Returns the exception that ended a process, or else the last thing it said."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "its process ended without a word"
    reason = lines[-1]
    if _TRACEBACK in lines:
        last = len(lines) - lines[::-1].index(_TRACEBACK)
        reason = next((line for line in lines[last:] if not line.startswith(" ")), reason)
    return reason.strip()[:_LONGEST_REASON]
