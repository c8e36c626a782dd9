"""The messages in docs/troubleshooting.md are those of the package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text().split("## By message")[1]
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def texts(tree: ast.AST):
    """Yields every text in a program, what is filled in being "…"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                getattr(part, "value", "") if isinstance(part, ast.Constant) else "…"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*\}|%[srd]", "…", node.value)


@pytest.fixture(scope="module")
def sources() -> list[str]:
    files = (ROOT / "src").rglob("*.py")
    return [text for file in files for text in texts(ast.parse(file.read_text()))]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_of_the_package(message, sources):
    parts = [re.escape(part) for part in message.split("…")]
    pattern = re.compile(".*".join(parts))
    assert any(pattern.search(text) for text in sources)


def test_the_page_has_messages():
    assert len(MESSAGES) > 30
