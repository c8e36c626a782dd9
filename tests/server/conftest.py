"""Folders for private servers, with paths short enough for sockets."""

import shutil
import tempfile
from pathlib import Path

import pytest

from fiftyone_redis import server
from fiftyone_redis.server.program import build_environment


@pytest.fixture
def root(monkeypatch):
    """A folder for one test; no server in it outlives the test."""
    made = Path(tempfile.mkdtemp(prefix="fr-", dir="/tmp")).resolve()
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_DIR", str(made / "default"))
    yield made
    try:
        for lock in made.rglob("redis.lock"):
            server.stop(lock.parent)
    finally:
        shutil.rmtree(made)


@pytest.fixture
def place(root):
    """The folder of a server that is not there yet."""
    return root / "redis"


@pytest.fixture
def path_folder(root, monkeypatch):
    """The only folder on the PATH, empty."""
    (root / "path").mkdir()
    monkeypatch.setenv("PATH", str(root / "path"))
    return root / "path"


@pytest.fixture
def script():
    """Writes a shell script that can be run."""

    def script(path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return script


@pytest.fixture
def install(root, path_folder, script):
    """Installs a real redis-server, with or without its modules."""
    found = server.find_program()
    found_in = build_environment(found, root).get("LD_LIBRARY_PATH", "")

    def install(
        prefix: Path, modules: str | None = None, folder: str = "bin", options: str = ""
    ) -> Path:
        if modules:
            (prefix / modules).mkdir(parents=True, exist_ok=True)
            for module in found.modules:
                (prefix / modules / module.name).symlink_to(module)
        body = f'LD_LIBRARY_PATH="{found_in}" exec "{found.executable}" "$@" {options}'
        return script(prefix / folder / "redis-server", body)

    return install
