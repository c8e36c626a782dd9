"""FiftyOne's runs, as its database knows them, and whether their indexes are there."""

import os
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis.app import indexes
from fiftyone_redis.doctor import diagnosis, runs
from fiftyone_redis.doctor.findings import format_bytes
from fiftyone_redis.doctor.runs import Run
from fiftyone_redis.engine import inventory


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
    assert finding.text == "All 2 runs have their indexes."


def test_an_index_that_is_lost_is_a_warning(indexed):
    indexed.load_brain_results("two").cleanup()
    [lost] = findings()
    assert lost.status == "warning"
    assert lost.text.startswith("1 of 2 runs lost the index")
    assert f"{indexed.name}/two" in lost.text
    assert "fiftyone-redis sync" in lost.advice


def test_all_lost_indexes_are_named_on_request(indexed):
    for key in ("three", "four"):
        fob.compute_similarity(
            indexed, embeddings=np.eye(len(indexed)), brain_key=key, backend="redis"
        )
    for key in ("one", "two", "three", "four"):
        indexed.load_brain_results(key).cleanup()
    [lost] = findings()
    assert "and 1 more (`doctor --all` names all of them)." in lost.text
    [lost] = [each for each in diagnosis.diagnose(name_all=True) if each.step == "runs"]
    assert all(f"{indexed.name}/{key}" in lost.text for key in ("one", "two", "three", "four"))


def test_a_run_that_was_never_filled_has_lost_nothing(indexed):
    indexed.add_sample_field("vector", fo.VectorField)
    fob.compute_similarity(
        indexed, embeddings=False, embeddings_field="vector", brain_key="new", backend="redis"
    )
    [empty] = findings()
    assert empty.status == "note"
    assert empty.text.startswith(f"1 run was never filled: {indexed.name}/new")


def test_indexes_are_told_by_the_runs_that_use_them(indexed):
    clone = indexed.clone()
    texts = [each.text for each in diagnosis.diagnose() if each.step == "index"]
    assert len(texts) == 2
    assert all(f"{indexed.name}/" in text for text in texts)
    assert all(f", {clone.name}/" in text or f"{clone.name}/" in text for text in texts)
    clone.delete()


def test_the_memory_of_an_index_is_the_same_everywhere(indexed, client):
    listed = {each.name: format_bytes(each.memory) for each in inventory.list_indexes(client)}
    told = [each.text for each in diagnosis.diagnose() if each.step == "index"]
    shown = indexes.fetch_summaries(indexed, client)
    assert len(listed) == len(shown) == 2
    for summary in shown:
        figure = listed[summary.index_name]
        assert format_bytes(summary.memory) == figure
        assert [text for text in told if summary.index_name in text and f", {figure}." in text]


def test_an_index_that_no_run_uses_is_a_warning(indexed):
    name = indexed.get_brain_info("two").config.index_name
    indexed.delete_brain_run("two")
    [orphan] = findings()
    assert (orphan.status, name in orphan.text) == ("warning", True)
    assert "fiftyone-redis prune" in orphan.advice


def test_a_dataset_that_fiftyone_deletes_by_itself_is_a_warning(indexed):
    indexed.persistent = False
    [passing] = findings()
    assert passing.status == "warning"
    assert f"{indexed.name}/one" in passing.text
    assert "persistent = True" in passing.advice


def test_the_database_that_fiftyone_starts_itself_is_found(indexed, monkeypatch):
    port = int(os.environ["FIFTYONE_DATABASE_URI"].rpartition(":")[2])
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(Path.home() / "mongo"))
    assert runs._find_own_uri({}) == f"mongodb://127.0.0.1:{port}"
    assert len(mine(indexed)) == 2
