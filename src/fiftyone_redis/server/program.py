"""A redis-server program: its executable, modules and libraries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fiftyone_redis.errors import PrivateServerError

LIBRARY_FOLDER = "libraries"


@dataclass(frozen=True)
class Program:
    """A redis-server, and what it needs to run with the query engine.

    Attributes:
        executable: the file to run
        modules: the modules to load, in this order
        libraries: shared libraries that the system lacks, each with the name to provide it under
    """

    executable: Path
    modules: tuple[Path, ...] = ()
    libraries: tuple[tuple[str, Path], ...] = ()


def build_command(program: Program, options: dict[str, str]) -> list[str]:
    """Builds the command that runs a program.

    Args:
        program: the program
        options: settings of redis.conf, each with its value

    Returns:
        the command and its arguments
    """
    settings = [part for name, value in options.items() for part in (f"--{name}", value)]
    modules = [part for module in program.modules for part in ("--loadmodule", str(module))]
    return [str(program.executable), *settings, *modules]


def build_environment(program: Program, folder: Path) -> dict[str, str]:
    """Links the libraries into a folder, and returns the environment for the server process.

    Args:
        program: the program
        folder: where to create the folder of symbolic links to the libraries, if there are any

    Returns:
        the environment of this process, with the links put first on the library path

    Raises:
        PrivateServerError: if something else is in that folder, which the server would load too
    """
    variables = dict(os.environ)
    if not program.libraries:
        return variables
    links = folder / LIBRARY_FOLDER
    _make_links(links, program.libraries)
    already = variables.get("LD_LIBRARY_PATH")
    variables["LD_LIBRARY_PATH"] = f"{links}{os.pathsep}{already}" if already else str(links)
    return variables


def _make_links(folder: Path, libraries: tuple[tuple[str, Path], ...]) -> None:
    """Makes a folder that holds links to libraries, and nothing else."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for old in folder.iterdir():
        if not old.is_symlink():
            raise PrivateServerError(
                f"{old} is not a link to a library of this server, which would load it: remove it."
            )
        old.unlink()
    for name, library in libraries:
        (folder / name).symlink_to(library)
