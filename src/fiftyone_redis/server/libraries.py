"""The OpenSSL 1.1 that some builds of redis-server need, and newer systems no longer have.

OpenCV's wheels for Linux carry it, under names made unique: ``libssl-8248cfc9.so.1.1.1k``.
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

    The executable is asked for its version, as only the dynamic loader knows what it can find.

    Args:
        executable: a redis-server

    Returns:
        each library under every name it is looked up by; nothing when the system has them all

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
    # they look each other up by the unique name, the server looks both up by the common one
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
        return ""  # it will not start either, and says why then
    return done.stderr if done.returncode else ""


def _find_in_opencv() -> tuple[Path, Path] | None:
    """Returns the libssl and libcrypto that an OpenCV wheel brought along."""
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
