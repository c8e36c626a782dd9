"""The direction of imports, read from the source: what may know of what."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fiftyone_redis

ROOT = Path(fiftyone_redis.__file__).parent
PACKAGE = "fiftyone_redis"

# Each module of the engine, and what it may know of the engine. The lower half sees the upper one.
ENGINE = {
    "__init__": "connection index reading schema search",
    "aliases": "cluster connection errors naming protocol replies schema",
    "attributes": "cluster codec documents protocol reading schema storage",
    "capabilities": "errors pool protocol refusals schema translation",
    "certificates": "",
    "cluster": "deadline errors pool protocol retry translation",
    "cluster_health": "cluster connection errors findings protocol topology translation whole",
    "codec": "errors options schema",
    "connection": "capabilities certificates cluster deadline errors parameters partial pool protocol retry sentinel tls translation whole",
    "conversion": "codec definition errors protocol schema storage",
    "deadline": "protocol translation",
    "definition": "errors options schema",
    "documents": "cluster codec connection keys options pipeline pool protocol retry routing schema storage translation",
    "errors": "",
    "exact": "codec",
    "findings": "cluster connection errors",
    "health": "capabilities cluster cluster_health connection errors findings index index_health pool protocol replies translation",
    "index": "aliases attributes capabilities cluster codec connection definition documents errors indexing keys lease leftovers naming options overlap protocol reading rebuild replies restricted schema search",
    "index_health": "aliases cluster connection errors findings leftovers naming protocol replies",
    "indexing": "cluster connection protocol replies",
    "keys": "cluster connection deadline errors pipeline protocol replies retry schema storage translation whole",
    "lease": "cluster connection errors protocol",
    "leftovers": "aliases cluster connection errors protocol replies retyping schema",
    "line": "deadline pool",
    "naming": "",
    "options": "errors",
    "overlap": "cluster connection errors naming pipeline protocol replies schema",
    "parameters": "errors",
    "partial": "cluster errors naming pool protocol whole",
    "pipeline": "cluster connection deadline errors pool protocol retry routing translation",
    "planner": "options schema",
    "pool": "deadline protocol",
    "primaries": "cluster deadline errors line protocol topology",
    "protocol": "definition options refusals schema",
    "reading": "cluster codec documents errors indexing keys protocol replies schema",
    "rebuild": "aliases capabilities cluster codec connection conversion documents errors indexing keys lease leftovers naming overlap pipeline pool protocol reading retry retyping schema storage translation",
    "refusals": "",
    "replies": "definition errors options protocol refusals schema",
    "restricted": "planner replies schema",
    "retry": "certificates refusals translation",
    "retyping": "cluster codec documents reading schema",
    "routing": "cluster connection errors line protocol retry translation whole",
    "schema": "errors options",
    "search": "cluster codec connection errors exact keys pipeline planner protocol reading replies restricted schema translation",
    "sentinel": "deadline errors pool retry tls",
    "storage": "codec protocol schema",
    "tls": "",
    "topology": "errors replies",
    "translation": "certificates errors refusals",
    "whole": "capabilities cluster errors pool primaries protocol retry topology translation",
}
ENGINE_LIBRARIES = {"numpy", "redis"}

SLOW = {"bson", "eta", "fiftyone", "numpy", "psutil", "pymongo", "redis"}
"""Libraries that take longer to import than a short command takes in all."""

# Above the engine: each part, and the parts that it must not know of.
FORBIDDEN = {
    "app": "cli demo",
    "server": "backend settings brain_config cli demo app",
    "option_keywords": "backend adoption settings neighbors sync cli demo app",
    "views": "backend adoption sync cli demo app",
    "attributes": "backend adoption settings neighbors sync cli demo app",
    "neighbors": "backend adoption sync cli demo app",
    "backend": "adoption sync cli demo app",
    "adoption": "cli demo app",
    "sync": "adoption cli demo app",
    "settings": "backend adoption sync cli demo app",
    "config_files": "backend adoption settings server brain_config sync cli demo app",
    "brain_config": "backend adoption settings server sync cli demo app",
    "runs": "backend adoption settings server sync cli demo app",
    "doctor": "backend cli demo app",
}


def files(part: str = "") -> list[Path]:
    """Returns the modules of a part, which is a folder or a single module."""
    path = ROOT / part
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(path: Path) -> set[str]:
    """Returns all that a module imports, anywhere in it, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def known(path: Path, package: str) -> set[str]:
    """Returns the modules and names directly in a package that a module imports."""
    return {
        name.removeprefix(f"{package}.").split(".")[0]
        for name in imported(path)
        if name.startswith(f"{package}.")
    }


def libraries(path: Path) -> set[str]:
    """Returns the libraries that a module imports from outside of Python."""
    return {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", files("engine"), ids=lambda path: path.stem)
def test_the_engine_imports_one_way(path):
    assert path.stem in ENGINE, "a new module of the engine needs its place in the picture"
    assert known(path, f"{PACKAGE}.engine") <= set(ENGINE[path.stem].split())


@pytest.mark.parametrize("path", files("engine"), ids=lambda path: path.stem)
def test_the_engine_knows_nothing_above_it_and_nothing_of_fiftyone(path):
    assert known(path, PACKAGE) <= {"engine"}
    assert libraries(path) <= {PACKAGE, *ENGINE_LIBRARIES}


def test_all_libraries_that_are_imported_are_declared():
    written = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    required = written.split("\ndependencies = [")[1].split("\n]")[0]
    declared = set(re.findall(r'"([\w-]+)', required))
    paths = set(files()) - set(files("demo"))  # which is an extra
    imported = {library for path in paths for library in libraries(path)} - {PACKAGE}
    assert {"pymongo" if name == "bson" else name for name in imported} <= declared


def test_the_table_of_refusals_needs_no_library():
    assert libraries(ROOT / "engine" / "refusals.py") == set()


@pytest.mark.parametrize("path", files("server"), ids=lambda path: path.stem)
def test_the_private_server_knows_only_the_errors_of_the_engine(path):
    assert known(path, f"{PACKAGE}.engine") <= {"errors"}
    assert libraries(path) <= {PACKAGE, "redis"}


@pytest.mark.parametrize(("part", "forbidden"), FORBIDDEN.items(), ids=FORBIDDEN)
def test_no_part_knows_of_those_above_it(part, forbidden):
    for path in files(part):
        assert not known(path, PACKAGE) & set(forbidden.split()), path.name


def test_only_the_panel_and_the_operators_know_the_types_of_the_app():
    outer = {ROOT / "app" / "panel.py", *files("app/operators")}
    for path in set(files("app")) - outer:
        assert not any("fiftyone.operators" in name for name in imported(path)), path.name


def test_commands_of_the_query_engine_are_written_in_one_place():
    strings = {
        (path.name, node.value)
        for path in files()
        if path != ROOT / "engine" / "protocol.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith("FT.")
    }
    assert strings == set()


def loaded(code: str) -> set[str]:
    """Returns the names of the modules that a new interpreter has loaded after some code."""
    code += "; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module", [PACKAGE, *(f"{PACKAGE}.{part}" for part in ("cli", "server", "brain_config"))]
)
def test_what_is_to_be_quick_imports_nothing_slow(module):
    modules = loaded(f"import {module}")
    assert module in modules
    assert not SLOW & modules


def test_the_command_enable_imports_nothing_slow(tmp_path):
    path = tmp_path / "brain_config.json"
    code = f"import os; os.environ['FIFTYONE_BRAIN_CONFIG_PATH'] = {str(path)!r}; "
    modules = loaded(
        f"{code}from fiftyone_redis.cli import main; main(['enable'], standalone_mode=False)"
    )
    assert path.exists()
    assert not SLOW & modules


def test_the_parts_of_the_package_are_imported_when_they_are_asked_for():
    parts = ("server.start", "engine.VectorIndex", "engine.errors", "sync.difference")
    asked = ", ".join(f"{PACKAGE}.{part}" for part in (*parts, "doctor.diagnose"))
    modules = loaded(f"import {PACKAGE}; [{asked}]")
    assert {f"{PACKAGE}.{part}" for part in ("server", "engine", "sync", "doctor")} <= modules
    assert "fiftyone" not in modules
    assert {"adopt", "doctor", "engine", "server", "sync"} <= set(dir(fiftyone_redis))
    assert {"VectorIndex", "connect"} <= set(dir(fiftyone_redis.engine))


@pytest.mark.parametrize("package", [fiftyone_redis, fiftyone_redis.engine])
def test_a_name_that_a_package_does_not_have_is_no_attribute(package):
    assert not hasattr(package, "nothing")


def test_importing_the_engine_does_not_import_fiftyone():
    modules = loaded(f"from {PACKAGE}.engine import VectorIndex")
    assert f"{PACKAGE}.engine.index" in modules
    assert "fiftyone" not in modules
