"""Runs the tests on all supported versions, and prints the table of docs/servers.md.

    test_all.py [NAME...]     all combinations, or those that are named

Each combination has an environment of its own, `.venv-<name>`, which stays: a second run is faster.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Combination(NamedTuple):
    """The versions of one run; without a version of FiftyOne it is the newest."""

    python: str
    redis_py: str
    fiftyone: str = ""

    @property
    def name(self) -> str:
        """The name of this combination, as people type it: `3.12-redis6.4`."""
        return f"{self.python}-redis{self.redis_py}"

    @property
    def constraint(self) -> str:
        """What pip is told besides the package itself."""
        if self.fiftyone:
            return "--constraint scripts/oldest.txt"
        return f"redis=={self.redis_py}.*"


# redisvl, which some tests need on Python 3.11 and newer, needs redis-py 6.
COMBINATIONS = (
    Combination("3.10", "5.0.8", "1.5.0"),
    Combination("3.10", "5.2"),
    Combination("3.11", "8.1"),
    Combination("3.12", "6.4"),
    Combination("3.13", "7.1"),
)

VERSIONS = (
    "import fiftyone, platform, redis; "
    "print(platform.python_version(), redis.__version__, fiftyone.__version__)"
)


def make(target: str, combination: Combination) -> subprocess.CompletedProcess[str]:
    """Makes a target in the environment of a combination, and returns what it printed."""
    variables = {
        "PYTHON": f"python{combination.python}",
        "VENV": f".venv-{combination.name}",
        "CONSTRAINT": combination.constraint,
    }
    command = ["make", target, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


def versions(combination: Combination) -> list[str]:
    """Returns the installed versions of Python, redis-py and FiftyOne."""
    program = ROOT / f".venv-{combination.name}" / "bin" / "python"
    done = subprocess.run([program, "-c", VERSIONS], text=True, capture_output=True, check=True)
    return done.stdout.split()


def run(combination: Combination) -> bool:
    """Runs the tests on a combination, prints its row, and returns whether all passed."""
    done = make("test", combination)
    (ROOT / f".venv-{combination.name}" / "tests.log").write_text(done.stdout, encoding="utf-8")
    last = [line for line in done.stdout.splitlines() if re.search(r"^=.* in [\d.]+s", line)][-1:]
    result = ", ".join(re.findall(r"\d+ (?:passed|failed|skipped|errors?)", "".join(last)))
    print(f"| {' | '.join(versions(combination))} | {result or 'not run'} |", flush=True)
    return done.returncode == 0


def main(names: list[str]) -> int:
    """Runs the combinations that are named, or all; returns 1 when a test failed."""
    chosen = [each for each in COMBINATIONS if not names or each.name in names]
    if unknown := set(names) - {each.name for each in COMBINATIONS}:
        known = ", ".join(each.name for each in COMBINATIONS)
        sys.exit(f"Unknown: {', '.join(sorted(unknown))}. There are {known}.")
    print("| Python | redis-py | FiftyOne | tests |\n|---|---|---|---|", flush=True)
    results = [run(each) for each in chosen]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
