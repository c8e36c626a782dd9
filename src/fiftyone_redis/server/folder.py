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
    """Returns the folder of the private server when none is named.

    Returns:
        what the variable ``FIFTYONE_REDIS_SERVER_DIR`` says, else ``~/.fiftyone/redis``
    """
    return Path(os.environ.get(FOLDER_VARIABLE) or "~/.fiftyone/redis").expanduser()


def resolve_folder(folder: str | Path | None) -> Path:
    """Makes the path of a server's folder absolute.

    Args:
        folder: the folder, or None for the default one

    Returns:
        the path; symbolic links stay, as they are the way to shorten a path

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
    """Makes a server's folder, or checks that it is closed to other users.

    A folder of this user's that others may enter is closed, if it is empty or a server's: closing
    any other one could take from others what they need.

    Args:
        place: the folder

    Raises:
        PrivateServerError: if it cannot be made, belongs to another user, or is open to others
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

    It is the kernel's and ends with the last process that has it open, however that one ends.

    Args:
        place: the folder

    Returns:
        an open file that holds the lock, to be closed or handed to a server, or None when a
        server or another starter has it
    """
    return _flock(place, fcntl.LOCK_EX)


def is_locked(place: Path) -> bool:
    """Tells whether a server runs or is being started in a folder, answering or not."""
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
    """Notes on a lock which machine it was taken on: folders can be shared by several."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, gethostname().encode(), 0)


def read_lock_host(place: Path) -> str:
    """Returns the name of the machine on which a lock was last signed."""
    return (place / LOCK).read_text(errors="replace")
