"""Runs a worker process, reads what it reports, and goes on after a work that failed.

A backend may raise, hang or take its process down. The work that did is reported with the reason,
and a new process does the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jobs import Figures, Job

HERE = Path(__file__).parent

_LONGEST_REASON = 200
_TRACEBACK = "Traceback (most recent call last):"


def run(
    script: str, job: Job, python: Path, variables: Mapping[str, str], limit: float
) -> dict[str, Figures]:
    """Does all works of a job.

    Args:
        script: the worker's file, beside this one
        job: the job
        python: the Python to run it with
        variables: the worker's environment variables
        limit: seconds that one work may take, the start of the process included

    Returns:
        each work's figures, or ``{"error": reason}``
    """
    figures: dict[str, Figures] = {}
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    left = job.works
    while True:
        log = folder / f"worker-{len(figures)}.log"
        rest = replace(job, works=left)
        failed = _process(HERE / script, rest, python, variables, limit, log, figures)
        if failed is None or not left:
            return figures
        figures.setdefault(failed, {"error": _reason(log)})
        # An empty rest is run as well: a process that ends well stops the server that it started.
        left = tuple(work for work in left if work not in figures)


def _process(
    script: Path,
    job: Job,
    python: Path,
    variables: Mapping[str, str],
    limit: float,
    log: Path,
    figures: dict[str, Figures],
) -> str | None:
    """Runs one process, adds to the figures, and returns the work during which it failed."""
    reading, writing = os.pipe()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), str(script), job.dumps(), str(writing)],
            stdout=output,
            stderr=output,
            env=dict(variables),
            cwd=job.folder,
            pass_fds=(writing,),
        )
    os.close(writing)
    begun = job.works[0] if job.works else "end"
    alarm = _Alarm(process, limit)
    with os.fdopen(reading, encoding="utf-8") as reports:
        for line in reports:
            alarm.restart()
            message = json.loads(line)
            begun = message.get("begun", begun)
            if "done" in message:
                figures[message["done"]] = message["figures"]
        code = process.wait()
    alarm.stop()
    if alarm.over:
        figures[begun] = {"error": f"it took more than {limit:.0f} s"}
    return begun if code else None


class _Alarm:
    """Kills a process that has not been heard of for some time."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.over = False
        self._process = process
        self._seconds = seconds
        self._timer = self._started()

    def restart(self) -> None:
        self.stop()
        self._timer = self._started()

    def stop(self) -> None:
        self._timer.cancel()

    def _started(self) -> threading.Timer:
        timer = threading.Timer(self._seconds, self._ring)
        timer.daemon = True
        timer.start()
        return timer

    def _ring(self) -> None:
        self.over = True
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
