"""What tests patch is listed in CONTRIBUTING.md, each with its reason, and nothing else is."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATCHING = {"setattr", "delattr", "setitem", "delitem"}  # of pytest's monkeypatch


def listed() -> list[str]:
    """Returns the names in the table of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("\n## What is patched\n")[1].split("\n## ")[0]
    return re.findall(r"`([^`]+)`", "".join(re.findall(r"^\|.*\|$", section, re.MULTILINE)))


def patched(path: Path) -> set[str]:
    """Returns what a file patches, as ``module.name``: with monkeypatch, or by an assignment."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in PATCHING:
                found.add(target(node.args, imported))
        elif isinstance(node, ast.Assign):
            for each in node.targets:
                if isinstance(each, ast.Attribute) and root(each) in imported:
                    found.add(f"{last(each.value, imported)}.{each.attr}")
    return found


def target(arguments: list[ast.expr], imported: dict[str, str]) -> str:
    first, second = arguments[0], arguments[1]
    if isinstance(first, ast.Constant):
        return ".".join(first.value.split(".")[-2:])
    name = second.value if isinstance(second, ast.Constant) else "*"
    return f"{last(first, imported)}.{name}"


def last(node: ast.expr, imported: dict[str, str]) -> str:
    """Returns the last name of an expression, by its own name if it was imported as another."""
    node = node.value if isinstance(node, ast.Subscript) else node
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    return imported.get(name, name).rpartition(".")[2]


def root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return ast.unparse(node)


def test_what_is_patched_is_listed_once():
    names = listed()
    assert names
    assert len(names) == len(set(names))
    found = {name for path in (ROOT / "tests").rglob("*.py") for name in patched(path)}
    assert found == set(names)


def test_no_test_uses_mock():
    for path in (ROOT / "tests").rglob("*.py"):
        imports = re.findall(
            r"^\s*(?:from|import) .*", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert not [line for line in imports if re.search(r"\bmock\b", line)], path
