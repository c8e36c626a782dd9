"""The picture of the source in docs/architecture.md: it has every module that it claims to list."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fiftyone_redis"
TREE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]


@pytest.mark.parametrize("package", ["", "similarity", "connection", "engine"])
def test_every_module_is_in_the_picture(package):
    folder = SOURCE / package
    paths = folder.rglob("*.py") if package else folder.glob("*.py")
    modules = {path.name for path in paths} - {"__init__.py", "__main__.py"}
    assert modules - {"errors.py", "sync.py"} <= set(re.findall(r"\b\w+\.py\b", TREE))


def test_no_module_is_in_the_picture_that_is_gone():
    assert set(re.findall(r"\b\w+\.py\b", TREE)) <= {path.name for path in SOURCE.rglob("*.py")}
