"""Single commands to a server over its Unix socket.

They are few and plain, and need what not every supported redis-py has for Unix sockets: a limit on
how long to wait for an answer.
"""

from __future__ import annotations

import socket
from pathlib import Path

from fiftyone_redis.engine.errors import PrivateServerError

# one long query keeps a healthy server from answering anything else
ANSWER_TIMEOUT_S = 5.0


def ask(path: Path, command: str) -> str | None:
    """Sends a command to the server that listens on a socket.

    Args:
        path: the server's socket
        command: a command that is answered with a string, or with the end of the connection

    Returns:
        the answer, or None when no server listens

    Raises:
        TimeoutError: if a server is there but does not answer
        PrivateServerError: if it refuses
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            with connection.makefile("rb") as answer:
                head = answer.readline().decode(errors="replace").strip()
                body = answer.read(int(head[1:])) if head.startswith("$") else b""
    except TimeoutError:
        raise
    except BlockingIOError as error:
        raise TimeoutError("too many clients wait to be let in") from error
    except OSError:
        return None
    if head.startswith("-"):
        raise PrivateServerError(
            f"The Redis at {path} refuses {command} ({head[1:]}): see the log beside its socket."
        )
    return body.decode(errors="replace")


def facts(path: Path, section: str) -> dict[str, str] | None:
    """Returns a section of the server's INFO, or None when no server listens.

    Args:
        path: the server's socket
        section: for instance ``"server"``

    Returns:
        the facts by name

    Raises:
        TimeoutError: if a server is there but does not answer
        PrivateServerError: if it refuses
    """
    found = ask(path, f"INFO {section}")
    if not found:
        return None
    pairs = (line.partition(":") for line in found.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def is_ready(path: Path) -> bool:
    """Tells whether a server answers, and is done loading its data.

    INFO is asked, not PING, which a server whose disk is full refuses.
    """
    try:
        found = facts(path, "persistence")
    except (TimeoutError, PrivateServerError):
        return False
    return found is not None and found["loading"] == "0"
