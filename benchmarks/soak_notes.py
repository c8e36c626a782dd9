"""What a writer of the soak was about to do, and what was acknowledged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

DIM = 16


class Notes:
    """What a process was about to do, and what was acknowledged; survives its death."""

    def __init__(self, path: Path) -> None:
        self.possible: dict[str, set[int | None]] = {}
        """The versions that each id may have now; None if it may be absent."""
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._begun: dict[int, dict[str, Any]] = {}
        self.number = 0
        for each in self.read():
            self._learn(each)

    def note(self, **what: Any) -> None:
        """Adds a line, which is kept even if this process is killed now."""
        self._file.write(json.dumps(what).encode() + b"\n")
        self._learn(what)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yields all lines."""
        for line in self._path.read_bytes().splitlines():
            # A line may have been cut by the death of the writer.
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def _learn(self, each: dict[str, Any]) -> None:
        self.number += 1
        if "begin" in each:
            self._begun = {each["begin"]: each}
            for id in each["ids"]:
                self.possible.setdefault(id, {None}).add(each["version"])
        elif "end" in each:
            done = self._begun[each["end"]]
            self.possible |= {id: {done["version"]} for id in done["ids"]}
        elif "seen" in each:
            self.possible |= {id: {version} for id, version in each["seen"].items()}


def make_vector(id: str, version: int) -> np.ndarray[Any, Any]:
    """Returns a vector that every type holds exactly."""
    seed = crc32(f"{id}/{version}".encode())
    return np.random.default_rng(seed).integers(1, 99, DIM).astype(np.float32)


def fits(id: str, version: int | None, held: Any) -> bool:
    """Returns whether a document is as one of its versions was."""
    if version is None or held is None:
        return version is None and held is None
    return bool((held == make_vector(id, version)).all())


def explain(id: str, version: int | None, held: Any) -> str:
    """Says what is wrong with a document."""
    return f"{id} version {version}: {'lost' if held is None else 'another vector'}"
