"""Without a browser the tests of the App say in one line what to install; in CI they fail."""

import os
import subprocess
import sys
from pathlib import Path

import browser as browsers
import pytest

ROOT = Path(__file__).parents[2]
# Where one is named, none is brought.
NONE = {name: value for name, value in os.environ.items() if name != "CI"} | {
    "CHROME_BIN": "/nowhere/chromium"
}


def ensure(**environment: str):
    command = [sys.executable, ROOT / "scripts" / "browser.py", "ensure"]
    return subprocess.run(
        command, env=NONE | environment, capture_output=True, text=True, check=False
    )


def test_what_to_install_is_said_in_one_line():
    done = ensure()
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{browsers.MISSING}\n"


def test_in_ci_its_absence_is_a_failure():
    done = ensure(CI="true")
    assert (done.returncode, done.stderr) == (1, f"{browsers.MISSING}\n")


def test_one_that_is_named_is_taken(monkeypatch, tmp_path):
    program = tmp_path / "my-chromium"
    program.write_text("#!/bin/sh\necho Chromium 1.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("CHROME_BIN", str(program))
    assert browsers.find() == program


def test_a_program_that_only_says_how_to_install_one_is_none(monkeypatch, tmp_path):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho Install me by snap install chromium\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.delenv("CHROME_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browsers.find() != program


@pytest.mark.slow
@pytest.mark.parametrize(("environment", "outcome"), [({}, "1 skipped"), ({"CI": "1"}, "1 error")])
def test_the_tests_of_the_app_are_skipped_without_one_but_fail_in_ci(environment, outcome):
    test = "tests/app/test_similarity.py::test_a_prompt_finds_what_it_names"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env=NONE | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in run.stdout.splitlines()[-1]
    assert browsers.MISSING in run.stdout
