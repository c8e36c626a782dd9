"""Runs the Python examples of the README and of docs/, each file from top to bottom.

A comment behind a `print()` is what it prints. The CLIP model is the tests' own zoo model.
"""

import re
from pathlib import Path

import fiftyone as fo
import pytest

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODEL = "projection-512"


def examples(file: Path) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", file.read_text(), re.DOTALL | re.MULTILINE)
    return "\n".join(blocks).replace("clip-vit-base32-torch", MODEL)


@pytest.mark.parametrize("file", [f for f in FILES if examples(f)], ids=lambda file: file.name)
def test_the_examples_run(
    file, quickstart, redis_backend, redis_server, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where they may write files
    code = examples(file).replace("redis://localhost:6379", redis_server.url)
    printed = []
    exec(code, {"print": lambda *values: printed.append(" ".join(map(str, values)))})
    promised = re.findall(r"^print\(.*\)(?:  # (.*))?$", code, re.MULTILINE)
    assert len(printed) == len(promised)
    for actual, expected in zip(printed, promised, strict=True):
        assert not expected or actual == expected


def test_links_lead_somewhere():
    for file in [*FILES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_figures_of_the_readme_are_those_of_the_benchmarks():
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text()
    readme = (ROOT / "README.md").read_text().split("One machine, one run")[0]
    table = re.findall(r"^\| (.*) \|$", readme, re.MULTILINE)[1:]
    assert len(table) == 9
    for row in table:
        _, ours, theirs, _ = [cell.strip() for cell in row.split("|")]
        assert re.search(rf"\| {re.escape(ours)} \(.*\| {re.escape(theirs)} \(", benchmarks), row


def test_the_recipe_of_the_readme_leaves_no_orphan_when_it_is_run_again(
    quickstart, redis_backend, client
):
    """FiftyOne deletes a dataset that is not persistent, but not its index."""
    recipe = examples(ROOT / "README.md")

    def run() -> list[bytes]:
        exec(recipe, {"print": lambda *values: None})
        return client.execute_command("FT._LIST")

    [first] = run()
    with pytest.raises(ValueError, match="already exists"):
        run()
    assert client.execute_command("FT._LIST") == [first]
    fo.delete_dataset("quickstart")
    [second] = run()
    assert second != first
