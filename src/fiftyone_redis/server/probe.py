"""Tries a program out: only a running server can tell whether it has the query engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from fiftyone_redis.engine.errors import PrivateServerError
from fiftyone_redis.server.client import ask, is_ready
from fiftyone_redis.server.folder import LOG, SOCKET
from fiftyone_redis.server.program import Program, command, environment

PROBE_TIMEOUT_S = 10.0
STEP_S = 0.01
OLDEST_ENGINE = 20600


def shortcoming(program: Program) -> str | None:
    """Starts a program for a moment, with no data and no port, and asks what it can do.

    Args:
        program: the program

    Returns:
        why it cannot be used, as the end of a sentence, or None when it can
    """
    with tempfile.TemporaryDirectory(prefix="fiftyone-redis-", dir=_short_folder()) as made:
        folder = Path(made)
        try:
            process = _launched(program, folder)
        except OSError as error:
            return f"it cannot be run: {error.strerror}"
        try:
            if not _wait(process, folder / SOCKET):
                return f"it does not start: {_last_line(folder / LOG)}"
            return _engine_shortcoming(folder / SOCKET)
        finally:
            _end(process)


def _launched(program: Program, folder: Path) -> subprocess.Popen[bytes]:
    options = {"port": "0", "unixsocket": str(folder / SOCKET), "save": "", "appendonly": "no"}
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            command(program, options),
            cwd=folder,
            env=environment(program, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _short_folder() -> str:
    """Returns a folder for temporary files in which the path of a socket is not too long."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= 64 else "/tmp"  # noqa: S108


def _wait(process: subprocess.Popen[bytes], socket: Path) -> bool:
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if is_ready(socket):
            return True
        time.sleep(STEP_S)
    return False


def _engine_shortcoming(socket: Path) -> str | None:
    try:
        modules = ask(socket, "INFO modules") or ""
    except (TimeoutError, PrivateServerError) as error:
        return f"it does not say which modules it has: {error}"
    engine = re.search(r"^module:name=search,ver=(\d+)", modules, re.MULTILINE)
    if engine is None:
        return "it has no query engine"
    version = int(engine[1])
    if version < OLDEST_ENGINE:
        return f"its query engine is {_dotted(version)}, older than {_dotted(OLDEST_ENGINE)}"
    return None


def _dotted(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def _last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # a script's children too
    process.wait()
