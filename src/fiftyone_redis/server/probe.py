"""Calls a server on its Unix socket, and probes whether a program has the query engine.

Only a running server shows its modules.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_redis.errors import PrivateServerError
from fiftyone_redis.server.folder import LOG, SOCKET
from fiftyone_redis.server.program import Program, build_command, build_environment

if TYPE_CHECKING:
    import redis

T = TypeVar("T")

# one long query blocks a healthy server
ANSWER_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 10.0
STEP_S = 0.01
OLDEST_ENGINE = 20600


def call_server(socket: Path, work: Callable[[redis.Redis], T]) -> T | None:
    """Connects to the server on a Unix socket, and runs a function with the client.

    Args:
        socket: the server's socket
        work: what to do with a client of the server

    Returns:
        the result of the function, or None if no server listens

    Raises:
        TimeoutError: if a server is there but does not answer
        PrivateServerError: if it refuses the command
    """
    # Importing redis is slow, and most commands do not need it.
    import redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    client = redis.Redis(
        unix_socket_path=str(socket),
        protocol=2,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with client:
            return work(client)
    except redis.TimeoutError as error:
        raise TimeoutError(str(error)) from error
    except (redis.AuthenticationError, redis.ResponseError) as error:
        raise PrivateServerError(
            f"The Redis at {socket} refuses a command ({error}): see the log beside its socket."
        ) from error
    except redis.ConnectionError as error:
        if isinstance(error.__context__, BlockingIOError):
            raise TimeoutError("too many clients wait to be let in") from error
        return None


def fetch_info(socket: Path, section: str) -> dict[str, Any] | None:
    """Fetches a section of INFO as redis-py parses it; None if no server listens.

    Args:
        socket: the server's socket
        section: for instance ``"server"``

    Raises:
        TimeoutError: if a server is there but does not answer
        PrivateServerError: if it refuses the command
    """
    return call_server(socket, lambda client: client.info(section))


def is_ready(socket: Path) -> bool:
    """Returns whether a server answers and has loaded its data.

    Sends INFO, not PING, which a server with a full disk refuses.
    """
    try:
        found = fetch_info(socket, "persistence")
    except (TimeoutError, PrivateServerError):
        return False
    return found is not None and found["loading"] == 0


def find_shortcoming(program: Program) -> str | None:
    """Starts a program for a moment, without data or port, and checks its query engine.

    Args:
        program: the program

    Returns:
        why it cannot be used, as the end of a sentence; None if it can
    """
    with tempfile.TemporaryDirectory(prefix="fiftyone-redis-", dir=_find_short_folder()) as made:
        folder = Path(made)
        try:
            process = _launch(program, folder)
        except OSError as error:
            return f"it cannot be run: {error.strerror}"
        try:
            if not _wait_until_ready(process, folder / SOCKET):
                return f"it does not start: {_read_last_line(folder / LOG)}"
            return _find_engine_shortcoming(folder / SOCKET)
        finally:
            _kill(process)


def _launch(program: Program, folder: Path) -> subprocess.Popen[bytes]:
    options = {"port": "0", "unixsocket": str(folder / SOCKET), "save": "", "appendonly": "no"}
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            build_command(program, options),
            cwd=folder,
            env=build_environment(program, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _find_short_folder() -> str:
    """Returns a temporary folder with a path short enough for a socket."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= 64 else "/tmp"  # noqa: S108


def _wait_until_ready(process: subprocess.Popen[bytes], socket: Path) -> bool:
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if is_ready(socket):
            return True
        time.sleep(STEP_S)
    return False


def _find_engine_shortcoming(socket: Path) -> str | None:
    try:
        modules = (fetch_info(socket, "modules") or {}).get("modules", [])
    except (TimeoutError, PrivateServerError) as error:
        return f"it does not report its modules: {error}"
    version = next((module["ver"] for module in modules if module["name"] == "search"), None)
    if version is None:
        return "it has no query engine"
    if version < OLDEST_ENGINE:
        found, oldest = _format_version(version), _format_version(OLDEST_ENGINE)
        return f"its query engine is {found}, older than {oldest}"
    return None


def _format_version(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def _read_last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # a script's children too
    process.wait()
