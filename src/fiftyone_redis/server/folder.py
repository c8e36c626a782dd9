"""The folder of a private server: its data, socket, log and lock, closed to other users."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from fiftyone_redis.errors import PrivateServerError, format_count, list_first

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
            f"The path of the folder {place} is too long for a Unix socket, by "
            f"{format_count(too_long, 'byte')}: use a shorter one, for instance by setting "
            f"{FOLDER_VARIABLE}."
        )
    return place


def prepare_folder(place: Path) -> None:
    """Creates a server's folder, or closes it to other users; refuses one that others wrote to.

    What is in the folder is read and run: a library in it would run as this user. So a folder that
    others can write to is refused unless it is empty. One that others can only read is closed if it
    belongs to a server; other such folders are refused, because others may need access.

    Args:
        place: the folder

    Raises:
        PrivateServerError: if it cannot be created, belongs to another user, or is open to others
    """
    with _explain(place):
        check_owner(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        check_owner(place)
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o077:
            _close(place, mode)
        strangers = [each.name for each in place.iterdir() if not _is_mine(each.lstat())]
        if strangers:
            raise PrivateServerError(
                f"The folder {place} holds files of other users ({list_first(sorted(strangers))}): "
                f"remove them, or name an empty folder with {FOLDER_VARIABLE}."
            )


def check_owner(place: Path) -> None:
    """Refuses a folder that belongs to another user, or is reached in a way that others can change.

    Args:
        place: the folder, which need not exist

    Raises:
        PrivateServerError: if it belongs to another user, or its path leads through a symbolic link
            of another user or a folder in which everybody can rename everything
    """
    with _explain(place):
        _check_path(place, place)
        if place.exists() and place.stat().st_uid != os.getuid():
            raise PrivateServerError(
                f"The folder {place} belongs to another user: name one of your own with "
                f"{FOLDER_VARIABLE}."
            )


def check_closed(place: Path) -> None:
    """Refuses a folder in which others can replace the socket; does what :func:`check_owner` does.

    Args:
        place: the folder, which need not exist

    Raises:
        PrivateServerError: if others can write to it
    """
    check_owner(place)
    with _explain(place):
        if place.exists() and place.stat().st_mode & 0o022:
            raise PrivateServerError(_explain_writable(place))


def _close(place: Path, mode: int) -> None:
    """Closes a folder to others if what is in it can be trusted; leaves it as it was if not."""
    place.chmod(0o700)  # before looking, so that nobody adds anything meanwhile
    is_server = not mode & 0o022 and (place / LOCK).exists()
    if is_server or not any(place.iterdir()):
        return
    place.chmod(mode)
    if mode & 0o022:
        raise PrivateServerError(_explain_writable(place))
    raise PrivateServerError(
        f"The folder {place} can be entered by other users and holds other files: name an empty "
        f"one with {FOLDER_VARIABLE}, or close it with `chmod 700`."
    )


def _check_path(path: Path, place: Path) -> None:
    for part in (*reversed(path.parents), path):
        if not os.path.lexists(part):
            return
        found = part.lstat()
        if stat.S_ISLNK(found.st_mode):
            if not _is_mine(found):
                raise PrivateServerError(
                    f"The path of the folder {place} leads through {part}, a symbolic link of "
                    f"another user: name a folder of your own with {FOLDER_VARIABLE}."
                )
            part.stat()  # fails for links that lead nowhere or in circles
            _check_path(part.parent / part.readlink(), place)
        elif part != path and found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
            raise PrivateServerError(
                f"Every user can replace the folder {place}, because {part} is open to all: name "
                f"another one with {FOLDER_VARIABLE}, or protect that with `chmod +t`."
            )


def _is_mine(found: os.stat_result) -> bool:
    """Returns whether a file belongs to this user or to root."""
    return found.st_uid in (0, os.getuid())


def _explain_writable(place: Path) -> str:
    return (
        f"Other users can write to the folder {place}, and what is in it would run as you: name an "
        f"empty one with {FOLDER_VARIABLE}, or check its files and close it with `chmod 700`."
    )


@contextmanager
def _explain(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PrivateServerError(
            f"The folder {place} cannot be made or used ({error.strerror}): name another one "
            f"with {FOLDER_VARIABLE}."
        ) from error


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
