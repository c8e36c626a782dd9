"""The notebook of examples/ runs from top to bottom, and is kept without what it printed."""

from pathlib import Path

import fiftyone as fo
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "digits.ipynb"
DATASET = "digits-notebook"


@pytest.fixture
def notebook():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return notebook


@pytest.fixture
def backend(redis_backend):
    """A Redis for the notebook, whose dataset is deleted even if it fails."""
    yield
    if fo.dataset_exists(DATASET):
        fo.delete_dataset(DATASET)


def cells(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_keeps_no_output(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in code if cell.outputs or cell.execution_count]


def test_the_notebook_runs_from_top_to_bottom(notebook, backend, client, capsys):
    names = {}
    printed = []
    for source in cells(notebook):
        exec(source, names)
        printed.append(capsys.readouterr().out.splitlines())

    _, size, nearest, duplicates, _, suspects, sevens, synced, _ = printed
    assert size == ["1700"]
    assert nearest == [str(["zero"] * 10)]
    assert int(duplicates[0].split()[-1]) > 0
    [found] = [line for line in suspects if line.startswith("->")]
    assert found.startswith("-> two, but ")
    assert found.endswith(" neighbours are six")
    assert sevens == ["{'seven': 25}"]
    plan, done, again, left = synced
    assert plan == "Would add 97, remove 20."
    assert done == "97 added, 20 removed."
    assert again == "Nothing to do."
    assert left == "1777"
    assert not client.execute_command("FT._LIST")
    assert not fo.dataset_exists(DATASET)
