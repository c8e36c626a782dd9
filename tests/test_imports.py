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

LAYERS = {
    "errors": "",
    "log": "",
    "config_files": "errors",
    "server": "errors",
    "connection": "errors",
    "engine": "errors connection",
    "settings": "errors server connection",
    "similarity": "errors settings connection engine",
    "backend": "errors settings connection engine similarity",
    "sync": "similarity",
    "adoption": "errors settings connection engine similarity backend",
    "transfer": "errors engine similarity backend",
    "brain_config": "errors config_files",
    "doctor": "errors config_files brain_config settings server connection engine similarity",
    "app": "errors config_files settings connection engine server similarity backend doctor",
    "demo": "errors app",
    "cli": "errors config_files brain_config settings server connection engine similarity backend "
    "adoption transfer doctor app demo",
    "__main__": "cli",
}
"""Each part of the package, and the parts that it may know of: those below it."""

FLOORS = 5
"""How many floors of imports a package may have at most."""

LIBRARIES = {
    "errors": "",
    "server": "redis",
    "connection": "redis",
    "engine": "numpy redis pyarrow",
}
"""What the lower parts may import from outside of Python."""

SLOW = {"bson", "eta", "fiftyone", "numpy", "psutil", "pyarrow", "pymongo", "redis"}
"""Libraries that take longer to import than a short command takes in all."""


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


def parts() -> list[str]:
    """Returns the names of the parts: folders and modules."""
    found = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    return sorted(found - {"__init__", "__pycache__"})


@pytest.mark.parametrize("part", parts())
def test_imports_point_one_way(part):
    assert part in LAYERS, "a new part needs its place in the picture"
    for path in files(part):
        allowed = {part, "log", "__version__", "CONFIG_CLS", *LAYERS[part].split()}
        assert known(path, PACKAGE) <= allowed, path


def packages() -> list[str]:
    """Returns the folders of modules, at any depth, as ``engine/search``."""
    found = {path.parent.relative_to(ROOT).as_posix() for path in files()}
    return sorted(found - {"."})


def known_within(package: str) -> dict[str, set[str]]:
    """Returns the modules and folders of a package, each with those of them that it imports."""
    knows: dict[str, set[str]] = {}
    dotted = ".".join([PACKAGE, *package.split("/")])
    for path in files(package):
        name = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        knows.setdefault(name, set()).update(known(path, dotted) - {name})
    knows.pop("__init__", None)
    return {name: below & knows.keys() for name, below in knows.items()}


@pytest.mark.parametrize("package", packages())
def test_no_modules_of_a_package_know_each_other_and_they_stand_on_few_floors(package):
    knows = known_within(package)
    floors, lower = 0, set()
    while floor := {name for name, below in knows.items() if below <= lower} - lower:
        floors, lower = floors + 1, lower | floor
    assert lower == knows.keys()
    assert floors <= FLOORS


@pytest.mark.parametrize("part", LIBRARIES)
def test_the_lower_parts_need_few_libraries(part):
    for path in files(part):
        assert libraries(path) <= {PACKAGE, *LIBRARIES[part].split()}, path


def test_all_libraries_that_are_imported_are_declared():
    written = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    required = written.split("\ndependencies = [")[1].split("\n]")[0]
    optional = written.split("\nparquet = [")[1].split("]")[0]
    declared = set(re.findall(r'"([\w-]+)', required + optional))
    paths = set(files()) - set(files("demo"))  # which is an extra
    imported = {library for path in paths for library in libraries(path)} - {PACKAGE}
    packages = {"bson": "pymongo", "PIL": "pillow"}
    assert {packages.get(name, name) for name in imported} <= declared


def test_the_table_of_refusals_needs_no_library():
    assert libraries(ROOT / "connection" / "protocol" / "refusals.py") == set()


def test_only_the_panel_and_the_operators_know_the_types_of_the_app():
    outer = {ROOT / "app" / "panel.py", *files("app/operators"), *files("app/painting")}
    for path in set(files("app")) - outer:
        assert not any("fiftyone.operators" in name for name in imported(path)), path.name


def test_commands_of_the_query_engine_are_written_in_one_place():
    places = {
        ROOT / "engine" / "protocol" / "commands.py",
        ROOT / "connection" / "protocol" / "wire.py",
    }
    strings = {
        (path.name, node.value)
        for path in set(files()) - places
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
        f"{code}from fiftyone_redis.cli.main import main; main(['enable'], standalone_mode=False)"
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
