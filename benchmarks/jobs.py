"""What the driver tells a worker process to do, and how the worker answers.

A worker is started with a :class:`Job` as JSON and the number of a file descriptor on its command
line. To that it writes one line of JSON when a work begins, and one with the figures when it is
done; the standard output is left to the libraries, which say this and that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from data import Sizes

Figures = dict[str, Any]

ENVIRONMENT = "environment"
"""The work that only finds out what is there: without it, no other can be done."""


@dataclass(frozen=True)
class Job:
    """Works for one process.

    Args:
        contender: the name of the backend
        works: the names of the works
        sizes: how much work
        folder: where the contender's data go
        port: the port of its Redis server, 0 if it has none
    """

    contender: str
    works: tuple[str, ...]
    sizes: Sizes
    folder: str
    port: int = 0

    def dumps(self) -> str:
        """Returns the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Job:
        """Returns the job that :meth:`dumps` made JSON of."""
        fields = json.loads(text)
        sizes = fields.pop("sizes")
        sizes["steps"] = tuple(sizes["steps"])
        return cls(**{**fields, "works": tuple(fields["works"]), "sizes": Sizes(**sizes)})


def perform(works: Iterable[str], known: Mapping[str, Callable[[], Figures]], to: int) -> None:
    """Does works in order and reports each.

    Args:
        works: their names
        known: the works that there are
        to: the file descriptor to write to
    """
    os.set_inheritable(to, False)
    with os.fdopen(to, "w", buffering=1, encoding="utf-8") as reports:
        for name in works:
            reports.write(json.dumps({"begun": name}) + "\n")
            reports.write(json.dumps({"done": name, "figures": known[name]()}) + "\n")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions of installed packages, whose names may carry a requirement."""
    return {name: version(name) for name in (p.split("==")[0] for p in packages)}
