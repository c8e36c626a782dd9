"""FiftyOne's runs, as its database knows them, and whether their indexes are there."""

import os
from pathlib import Path

import fiftyone.brain as fob
import pytest

from fiftyone_redis.doctor import diagnosis, runs
from fiftyone_redis.doctor.runs import Run


@pytest.fixture
def indexed(samples, redis_server, monkeypatch):
    """Two runs of one dataset, and the server by the environment."""
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_REDIS_URL", redis_server.url)
    samples.dataset.persistent = True
    for key in ("one", "two"):
        fob.compute_similarity(
            samples.dataset, embeddings=samples.embeddings, brain_key=key, backend="redis"
        )
    return samples.dataset


def mine(dataset) -> list[Run]:
    return [run for run in runs.find_runs() if run.dataset == dataset.name]


def findings() -> list[diagnosis.Finding]:
    return [finding for finding in diagnosis.diagnose() if finding.step == "runs"]


def test_the_runs_are_found(indexed):
    names = {key: indexed.get_brain_info(key).config.index_name for key in ("one", "two")}
    assert mine(indexed) == [Run(indexed.name, key, name) for key, name in names.items()]


def test_runs_of_other_backends_are_not(samples):
    fob.compute_similarity(
        samples.dataset, embeddings=samples.embeddings, brain_key="key", backend="sklearn"
    )
    assert mine(samples.dataset) == []


def test_indexes_that_are_there_are_fine(indexed):
    indexed.load_brain_results("one").rebuild(dtype="float16")
    [finding] = findings()
    assert finding.status == "ok"
    assert finding.text == "2 of 2 have their index here."


def test_an_index_that_is_lost_is_a_warning(indexed):
    indexed.load_brain_results("two").cleanup()
    there, lost = findings()
    assert there.text == "1 of 2 have their index here."
    assert lost.status == "warning"
    assert f"'two' of '{indexed.name}'" in lost.text


def test_an_index_that_no_run_uses_is_a_warning(indexed):
    name = indexed.get_brain_info("two").config.index_name
    indexed.delete_brain_run("two")
    there, orphan = findings()
    assert there.text == "1 of 1 have their index here."
    assert (orphan.status, name in orphan.text) == ("warning", True)
    assert "FT.DROPINDEX" in orphan.advice


def test_a_dataset_that_fiftyone_deletes_by_itself_is_a_warning(indexed):
    indexed.persistent = False
    _, passing = findings()
    assert passing.status == "warning"
    assert f"'one' of '{indexed.name}'" in passing.text
    assert "persistent = True" in passing.advice


def test_the_database_that_fiftyone_starts_itself_is_found(indexed, monkeypatch):
    port = int(os.environ["FIFTYONE_DATABASE_URI"].rpartition(":")[2])
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(Path.home() / "mongo"))
    assert runs._find_own_uri({}) == f"mongodb://127.0.0.1:{port}"
    assert len(mine(indexed)) == 2
