"""Environments for backends whose packages clash with this one's.

Each is a layer over the environment that the benchmark runs in: a virtual environment of its own
that sees that one's packages, too, and in which pip installs only what differs. So every contender
runs with the same FiftyOne, numpy and MongoDB, and an environment takes seconds to make.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from contenders import Contender

_STAMP = "ready.txt"
_LAYER = "_benchmark_base.pth"


class InstallError(Exception):
    """An environment cannot be made; the message says why, in one line."""


def python_of(contender: Contender, folder: Path) -> Path:
    """Returns the Python that a contender runs with, and makes its environment if need be.

    Args:
        contender: the contender
        folder: where the environments are

    Raises:
        InstallError: if its packages cannot be installed
    """
    if not contender.packages:
        return Path(sys.executable)
    place = folder / contender.name
    python = place / "bin" / "python"
    stamp = place / _STAMP
    wanted = "\n".join([sys.prefix, *contender.packages])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)])
    _put_on_top_of_this_one(python)
    _run([str(python), "-m", "pip", "install", "--quiet", *contender.packages])
    stamp.write_text(wanted)
    return python


def _put_on_top_of_this_one(python: Path) -> None:
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    base = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(found.stdout.strip()) / _LAYER).write_text("\n".join(sorted(base)) + "\n")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
        reason = lines[0] if lines else f"exit code {done.returncode}"
        raise InstallError(f"its packages cannot be installed ({reason})")
