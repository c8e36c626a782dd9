"""Finds OpenSSL 1.1, which some builds of redis-server need and newer systems lack.

OpenCV's Linux wheels include it under unique names: ``libssl-8248cfc9.so.1.1.1k``.
"""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

from fiftyone_redis.errors import PrivateServerError

NEEDED = ("libssl", "libcrypto")
SUFFIX = ".so.1.1"
VERSION_TIMEOUT_S = 10.0


def find_missing_libraries(executable: Path) -> tuple[tuple[str, Path], ...]:
    """Finds the libraries that an executable needs and the system lacks.

    Runs the executable with --version, since only the dynamic loader knows what it finds.

    Args:
        executable: a redis-server

    Returns:
        each library with every name to provide it under; empty if the system has them all

    Raises:
        PrivateServerError: if OpenSSL 1.1 is needed and no installed package has it
    """
    if not any(f"{name}{SUFFIX}" in _read_loader_error(executable) for name in NEEDED):
        return ()
    carried = _find_in_opencv()
    if carried is None:
        raise PrivateServerError(
            f"{executable} needs OpenSSL 1.1 (libssl.so.1.1), which this system lacks: install it, "
            "or run `pip install opencv-python-headless`, which carries it."
        )
    # the libraries refer to each other by unique names, the server by common names
    common = [(f"{name}{SUFFIX}", library) for name, library in zip(NEEDED, carried, strict=True)]
    return (*common, *((library.name, library) for library in carried))


def _read_loader_error(executable: Path) -> str:
    try:
        done = subprocess.run(
            [str(executable), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # starting it will fail and report why
    return done.stderr if done.returncode else ""


def _find_in_opencv() -> tuple[Path, Path] | None:
    """Returns the libssl and libcrypto of an installed OpenCV wheel."""
    spec = find_spec("cv2")
    if spec is None or spec.origin is None:
        return None
    packages = Path(spec.origin).parent.parent
    for folder in sorted(packages.glob("opencv*.libs")):
        found = [sorted(folder.glob(f"{name}-*{SUFFIX}*")) for name in NEEDED]
        if all(found):
            ssl, crypto = (files[0] for files in found)
            return ssl, crypto
    return None
