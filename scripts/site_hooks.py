"""Adds to the site what is outside docs/: the README as its home, the notebook, and other files."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

# The folders of a page in the repository and in the site differ: docs/ is the site's root.
_HOME = {"README.md": "index.md"}
_NOTEBOOK = "examples/digits.ipynb"
_TARGETS = {**_HOME, _NOTEBOOK: "examples/digits.md"}
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and files that the documentation links to."""
    for path in [*ROOT.glob("*.md"), ROOT / "LICENSE", *(ROOT / "examples").glob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        files.append(_file(config, _HOME.get(name, name), path.read_text()))
    notebook = json.loads((ROOT / _NOTEBOOK).read_text())
    files.append(_file(config, _TARGETS[_NOTEBOOK], notebook_page(notebook)))
    files.append(_file(config, _NOTEBOOK, (ROOT / _NOTEBOOK).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links relative to the site, and removes what only the tests read."""
    del config, files
    source = page.file.src_uri
    outside = {target: name for name, target in _TARGETS.items()}.get(source, source)
    known = (ROOT / outside).exists() and not (ROOT / "docs" / source).exists()
    folder = posixpath.dirname(outside if known else f"docs/{source}")
    here = posixpath.dirname(source)

    def relocate(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        if _TARGETS.get(target) != source:
            target = _TARGETS.get(target, target)
        target = target.removeprefix("docs/")
        return link[1] + posixpath.relpath(target, here or ".")

    return _LINK.sub(relocate, markdown.replace("```python no-run", "```python"))


def notebook_page(notebook: dict[str, Any]) -> str:
    """Returns a notebook as Markdown."""
    download = "[Download this notebook](digits.ipynb) to run it.\n"
    cells = [("".join(cell["source"]), cell["cell_type"]) for cell in notebook["cells"]]
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for text, kind in cells]
    return "\n\n".join([parts[0], download, *parts[1:]])


def _file(config: MkDocsConfig, name: str, content: str) -> File:
    return File.generated(config, name, content=content)
