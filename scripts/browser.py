"""The Chromium that the tests of the App drive.

    browser.py ensure   make sure that there is one, or say in one line what to install

It is the one that CHROME_BIN names, else Chromium or Chrome on the PATH, else the one that
Playwright has downloaded into this environment. Without any, root gets the system's package where
there is apt-get; anybody else, and root where that fails, gets Playwright's download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "CHROME_BIN"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
MISSING = (
    "There is no browser for the tests of the App: install Chromium, for instance by "
    f"`apt-get install chromium`, or name the program of one by the variable {VARIABLE}."
)

# Into Playwright's own folder, because the tests have another home, in which it would not look.
os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", "0")

_MINUTES = 60  # in seconds
_WAIT = 10 * _MINUTES


def find() -> Path | None:
    """Returns the program of a browser that starts, or None.

    Returns:
        its path
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named) if _starts(named) else None
    for program in filter(None, map(shutil.which, NAMES)):
        if _starts(program):  # Ubuntu's chromium-browser may only say that one should install it
            return Path(program)
    downloaded = _downloaded()
    return downloaded if downloaded and _starts(downloaded) else None


def ensure() -> int:
    """Brings a browser if there is none.

    Returns:
        the exit status: 1 if there is none at the end and this is CI, where that is a failure
    """
    for bring in (_do_nothing, _install, _download):
        bring()
        if find():
            return 0
    print(MISSING, file=sys.stderr)
    return 1 if os.environ.get("CI") else 0


def _do_nothing() -> None:
    """Brings what is there already."""


def _install() -> None:
    """Installs the system's package."""
    if os.geteuid() != 0 or not shutil.which("apt-get") or os.environ.get(VARIABLE):
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing Chromium for the tests of the App.")
    _try(["apt-get", "update", "-qq"], quiet)
    _try(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], quiet)


def _download() -> None:
    """Downloads Playwright's own."""
    if os.environ.get(VARIABLE):
        return
    print("Downloading Chromium for the tests of the App.")
    _try([sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"])


def _try(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a command that may fail: whether a browser is there afterwards is what counts."""
    try:
        subprocess.run(
            command,
            env=environment,
            check=False,
            timeout=_WAIT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return


def _downloaded() -> Path | None:
    """Returns where Playwright keeps its own, which need not be there."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415
    except ImportError:
        return None
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def _starts(program: str | Path) -> bool:
    command = [str(program), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_MINUTES)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"hrom" in done.stdout


if __name__ == "__main__":
    sys.exit(ensure())
