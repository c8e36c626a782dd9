"""The folder of a private server: its data, socket, log and lock, closed to other users."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from socket import gethostname

from fiftyone_redis.errors import PrivateServerError

FOLDER_VARIABLE = "FIFTYONE_REDIS_SERVER_DIR"
SOCKET = "redis.sock"
LOG = "redis.log"
PID = "redis.pid"
LOCK = "redis.lock"
LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107


def default_folder() -> Path:
    """Returns the default folder of the private server.

    Returns:
        the variable ``FIFTYONE_REDIS_SERVER_DIR``, else ``~/.fiftyone/redis``
    """
    return Path(os.environ.get(FOLDER_VARIABLE) or "~/.fiftyone/redis").expanduser()


def resolve_folder(folder: str | Path | None) -> Path:
    """Makes the path of a server's folder absolute.

    Args:
        folder: the folder, or None for the default one

    Returns:
        the path; symbolic links are kept, since they can shorten a path

    Raises:
        PrivateServerError: if the path is too long for a socket
    """
    chosen = default_folder() if folder is None else Path(folder).expanduser()
    place = chosen.absolute()
    too_long = len(os.fsencode(place / SOCKET)) - LONGEST_SOCKET_PATH
    if too_long > 0:
        raise PrivateServerError(
            f"The folder {place} is {too_long} bytes too long for a Unix socket: use a shorter "
            f"one, for instance by setting {FOLDER_VARIABLE}."
        )
    return place


def prepare_folder(place: Path) -> None:
    """Creates a server's folder, or checks that other users cannot access it.

    A folder that others can access is closed if it is empty or belongs to a server. Other folders
    are refused, because others may need access.

    Args:
        place: the folder

    Raises:
        PrivateServerError: if it cannot be created, belongs to another user, or is open to others
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        check_owner(place)
        if not stat.S_IMODE(place.stat().st_mode) & 0o077:
            return
        if not (place / LOCK).exists() and any(place.iterdir()):
            raise PrivateServerError(
                f"The folder {place} can be entered by other users and holds other files: name an "
                f"empty one with {FOLDER_VARIABLE}, or close it with `chmod 700`."
            )
        place.chmod(0o700)
    except OSError as error:
        raise PrivateServerError(
            f"The folder {place} cannot be made or used ({error.strerror}): name another one "
            f"with {FOLDER_VARIABLE}."
        ) from error


def check_owner(place: Path) -> None:
    """Refuses a folder that belongs to another user.

    Args:
        place: the folder

    Raises:
        PrivateServerError: if it does
    """
    if place.stat().st_uid != os.getuid():
        raise PrivateServerError(
            f"The folder {place} belongs to another user: name one of your own with "
            f"{FOLDER_VARIABLE}."
        )


def take_lock(place: Path) -> int | None:
    """Takes the lock that a running server holds.

    The kernel releases it when the last process that holds it ends, even after a crash.

    Args:
        place: the folder

    Returns:
        an open file that holds the lock, to be closed or passed to a server; None if a server,
        or a process that is starting one, holds it
    """
    return _flock(place, fcntl.LOCK_EX)


def is_locked(place: Path) -> bool:
    """Returns whether a server is running or starting in a folder, responsive or not."""
    if not (place / LOCK).exists():
        return False
    lock = _flock(place, fcntl.LOCK_SH)
    if lock is None:
        return True
    os.close(lock)
    return False


def _flock(place: Path, kind: int) -> int | None:
    lock = None
    try:
        lock = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if lock is not None:
            os.close(lock)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                return None
        raise PrivateServerError(
            f"The folder {place} cannot be locked ({error.strerror}): name one on a local disk "
            f"with {FOLDER_VARIABLE}."
        ) from error
    return lock


def sign_lock(lock: int) -> None:
    """Writes the host name to the lock file, since machines can share a folder."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, gethostname().encode(), 0)


def read_lock_host(place: Path) -> str:
    """Reads the host name of the machine that signed the lock last."""
    return (place / LOCK).read_text(errors="replace")
