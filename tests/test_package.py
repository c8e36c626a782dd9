"""What is published: it builds, holds what it needs, and installs in an environment of its own."""

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import fiftyone_redis

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


def run(*command) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_all_that_it_needs(dist):
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(n).decode() for n in names if n.endswith("/METADATA")]
    sources = (ROOT / "src").rglob("*")
    needed = {str(p.relative_to(ROOT / "src")) for p in sources if p.suffix in {".py", ".json"}}
    assert needed | {"fiftyone_redis/py.typed"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert Parser().parsestr(metadata)["Version"] == fiftyone_redis.__version__


def test_the_source_archive_holds_the_tests_and_no_leftovers(dist):
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = [name.split("/", 1)[1] for name in files.getnames() if "/" in name]
    assert {"tests/conftest.py", "README.md", "Makefile", "scripts/mongod.py"} <= set(names)
    assert not [name for name in names if name.startswith((".venv", ".demo", ".bench"))]


def test_the_wheel_installs_in_an_environment_of_its_own(dist, tmp_path):
    [wheel] = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    run(python, "-m", "pip", "install", "--quiet", "click")
    tool = python.with_name("fiftyone-redis")
    assert run(tool, "--version").strip() == f"fiftyone-redis, version {fiftyone_redis.__version__}"
    assert "disable" in run(tool, "--help")
    assert run(python, "-c", "import fiftyone_redis; print(fiftyone_redis.CONFIG_CLS)").strip() == (
        "fiftyone_redis.backend.RedisSimilarityConfig"
    )
