"""Progress bars: each with a caption, and none where none is wanted."""

from collections.abc import Callable
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

COUNT = 5_000  # from here on, work has a bar by default
BAR = "5000/5000"  # the last state of a bar, which is logged
VECTORS = np.random.default_rng(51).normal(size=(COUNT, 2))


@pytest.fixture
def many(redis_backend, monkeypatch):
    """A dataset of many samples; FiftyOne shows progress bars by default."""
    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=f"{row}.png") for row in range(COUNT)), progress=False)
    monkeypatch.setattr(fo.config, "show_progress_bars", True)
    yield dataset
    dataset.delete()


@pytest.fixture
def index(many):
    return fob.compute_similarity(
        many,
        embeddings=VECTORS,
        brain_key="key",
        backend="redis",
        attributes=["filepath"],
        progress=False,
    )


CALLS: dict[str, Callable[[Any], Any]] = {
    "Adding": lambda index, **more: index.add_to_index(VECTORS, index.samples.values("id"), **more),
    "Reading": lambda index, **more: index.get_embeddings(**more),
    "Updating the fields of": lambda index, **more: index.update_attributes(**more),
    "Indexing": lambda index, **more: index.rebuild(metric="euclidean", **more),
}


def test_computing_without_progress_draws_nothing(many, capsys, caplog):
    fob.compute_similarity(many, embeddings=VECTORS, backend="redis", progress=False)
    assert capsys.readouterr().out == ""
    assert BAR not in caplog.text


@pytest.mark.parametrize("caption", CALLS)
def test_work_without_progress_draws_nothing(index, caption, capsys, caplog):
    CALLS[caption](index, progress=False)
    assert capsys.readouterr().out == ""
    assert BAR not in caplog.text


@pytest.mark.parametrize("caption", CALLS)
def test_a_bar_has_a_caption(index, caption, caplog):
    CALLS[caption](index, progress=True)
    assert f"{caption} 5,000 vectors..." in caplog.messages
    assert BAR in caplog.text


def test_finding_duplicates_reads_with_a_bar(index, caplog):
    index.find_duplicates(thresh=0.0)
    assert "Reading 5,000 vectors..." in caplog.messages
    assert BAR in caplog.text
