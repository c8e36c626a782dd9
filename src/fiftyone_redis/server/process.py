"""Starts, stops and checks the private server of a folder."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone_redis.errors import PrivateServerError
from fiftyone_redis.server.folder import (
    LOG,
    PID,
    SOCKET,
    check_closed,
    check_owner,
    is_locked,
    prepare_folder,
    read_lock_host,
    resolve_folder,
    sign_lock,
    take_lock,
)
from fiftyone_redis.server.locate import find_program
from fiftyone_redis.server.probe import call_server, fetch_info, is_ready
from fiftyone_redis.server.program import build_command, build_environment

if TYPE_CHECKING:
    import redis

STEP_S = 0.01
START_TIMEOUT_S = 60.0
LAUNCH_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 60.0
PATIENCE_S = 10.0  # wait after SHUTDOWN before SIGTERM
LOG_LINES = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrivateServer:
    """A running private server.

    Attributes:
        url: the URL for clients: its Unix socket, database 0
        folder: where its data, log and socket are
        pid: its process id
        port: the TCP port on 127.0.0.1 that it also listens on, or None
    """

    url: str
    folder: Path
    pid: int
    port: int | None = None


def start(
    folder: str | Path | None = None,
    *,
    port: int | None = None,
    program: str | Path | None = None,
) -> PrivateServer:
    """Starts the private server of a folder, or returns the one that already runs there.

    It keeps running after this process, until :func:`stop`. Its data stays in the folder: writes
    older than two seconds survive even a crash of the machine.

    Args:
        folder: for its data, log and socket; created if missing, and closed to other users; by
            default :func:`default_folder`
        port: an additional TCP port, 1 to 65535, on 127.0.0.1 only; every user of this machine can
            connect to it, so the default is none
        program: the redis-server to run; by default the one that :func:`find_program` finds

    Returns:
        the server, ready and with its data loaded

    Raises:
        PrivateServerError: if it cannot be started, or already runs with another port
    """
    if port is not None and not 1 <= port <= 65535:
        raise PrivateServerError(f"The port {port} is not between 1 and 65535: choose another one.")
    place = resolve_folder(folder)
    prepare_folder(place)
    server = status(place)
    if server is None or not is_ready(place / SOCKET):
        server = _start_server(place, port, program)
    if port is not None and server.port != port:
        has = "without a port" if server.port is None else f"on port {server.port}"
        raise PrivateServerError(
            f"The private Redis in {place} already runs {has}: stop it first, then start it with "
            f"port {port}."
        )
    return server


def status(folder: str | Path | None = None) -> PrivateServer | None:
    """Checks whether the private server of a folder is running.

    Connects to its socket, so files left behind by a crash do not matter.

    Args:
        folder: its folder, by default :func:`default_folder`

    Returns:
        the server, which may still be loading its data, or None if none is running

    Raises:
        PrivateServerError: if it runs but does not answer, or others can write to its folder
    """
    place = resolve_folder(folder)
    check_closed(place)
    try:
        found = fetch_info(place / SOCKET, "server")
    except TimeoutError as error:
        raise PrivateServerError(
            f"The private Redis in {place} does not answer: wait until it is less busy, or stop it."
        ) from error
    if found is None:
        return None
    url = "unix://" + quote(str(place / SOCKET))
    return PrivateServer(url, place, found["process_id"], found["tcp_port"] or None)


def read_log(folder: str | Path | None = None, lines: int = 20) -> list[str]:
    """Returns the last lines of the log of a folder's server; none if it has no log.

    Args:
        folder: its folder, by default :func:`default_folder`
        lines: how many lines

    Raises:
        PrivateServerError: if the log cannot be read
    """
    log = resolve_folder(folder) / LOG
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, lines)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PrivateServerError(f"Cannot read {log} ({error.strerror or error}).") from error


def stop(folder: str | Path | None = None) -> bool:
    """Stops the private server of a folder, and waits until its process is gone.

    Args:
        folder: its folder, by default :func:`default_folder`

    Returns:
        whether one was running; its data is now on disk

    Raises:
        PrivateServerError: if it does not stop
    """
    place = resolve_folder(folder)
    check_owner(place)
    if not place.exists():
        return False
    begun = time.monotonic()
    found = asked = signalled = False
    while _is_in_use(place):
        found = True
        asked = asked or _send_shutdown(place)
        waited = time.monotonic() - begun
        if waited > PATIENCE_S and not signalled:
            signalled = _send_sigterm(place)
        if waited > STOP_TIMEOUT_S:
            raise PrivateServerError(
                f"The private Redis in {place} did not stop within {STOP_TIMEOUT_S:.0f} s: see its "
                f"log {place / LOG}, and end the process that {place / PID} names yourself."
            )
        time.sleep(STEP_S)
    if found:
        logger.info("Stopped the private Redis in %s", place)
    return found


def _start_server(place: Path, port: int | None, program: str | Path | None) -> PrivateServer:
    """Waits until a server is ready; launches one if no other process runs or launches it."""
    log_start = _get_size(place / LOG)
    deadline = time.monotonic() + START_TIMEOUT_S
    launched = False
    while time.monotonic() < deadline:
        if is_ready(place / SOCKET):
            server = status(place)
            if server is not None:
                logger.info("The private Redis in %s runs as process %d", place, server.pid)
                return server
        lock = take_lock(place)
        if lock is not None:
            with os.fdopen(lock):
                if launched:
                    raise _make_start_error(place, log_start, "it ended at once")
                _launch(place, port, program, lock, log_start)
            launched = True
        time.sleep(STEP_S)
    raise _make_timeout_error(place)


def _launch(
    place: Path, port: int | None, program: str | Path | None, lock: int, log_start: int
) -> None:
    """Runs the program, which daemonizes and keeps the lock."""
    (place / PID).unlink(missing_ok=True)  # it names the lock holder, so must not be stale
    sign_lock(lock)
    found = find_program(program)
    with (place / LOG).open("ab") as log:
        try:
            subprocess.run(
                build_command(found, _options(place, port)),
                cwd=place,
                env=build_environment(found, place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                timeout=LAUNCH_TIMEOUT_S,
                check=True,
            )
        except OSError as error:
            raise _make_start_error(place, log_start, str(error.strerror)) from error
        except subprocess.SubprocessError as error:
            raise _make_start_error(place, log_start, _explain(error)) from error


def _options(place: Path, port: int | None) -> dict[str, str]:
    return {
        "daemonize": "yes",
        "dir": str(place),
        "unixsocket": str(place / SOCKET),
        "unixsocketperm": "700",
        "port": str(port or 0),
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "loglevel": "notice",
        "logfile": str(place / LOG),
        "pidfile": str(place / PID),
    }


def _explain(error: subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with exit code {error.returncode}"
    return f"it did not go into the background within {LAUNCH_TIMEOUT_S:.0f} s"


def _make_start_error(place: Path, log_start: int, why: str) -> PrivateServerError:
    lines = (place / LOG).read_bytes()[log_start:].decode(errors="replace").splitlines()
    said = "\n".join(lines[-LOG_LINES:]) or "(nothing)"
    return PrivateServerError(
        f"The private Redis in {place} did not start ({why}): fix what the end of its log "
        f"says:\n{said}"
    )


def _make_timeout_error(place: Path) -> PrivateServerError:
    if read_lock_host(place) != gethostname():
        return PrivateServerError(
            f"The folder {place} is in use by a Redis that was started on the machine "
            f"{read_lock_host(place)}: stop it there, or use another folder."
        )
    return PrivateServerError(
        f"The private Redis in {place} was not ready within {START_TIMEOUT_S:.0f} s: see its log "
        f"{place / LOG}, and start it again to wait longer if it is still loading its data."
    )


def _get_size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_in_use(place: Path) -> bool:
    """Returns whether the folder is locked, or a server answers without holding the lock."""
    return is_locked(place) or is_ready(place / SOCKET)


def _send_shutdown(place: Path) -> bool:
    """Sends SHUTDOWN; the server writes and closes its files first."""
    try:
        return call_server(place / SOCKET, _shut_down) is not None
    except TimeoutError:
        return False


def _shut_down(client: redis.Redis) -> bool:
    client.info("server")  # shutdown() appears to succeed without a server
    client.shutdown()
    return True


def _read_pid(place: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((place / PID).read_text())
    return None


def _send_sigterm(place: Path) -> bool:
    """Sends SIGTERM to the lock holder, if it is on this machine."""
    pid = _read_pid(place)
    if pid is None or not is_locked(place) or read_lock_host(place) != gethostname():
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return True
