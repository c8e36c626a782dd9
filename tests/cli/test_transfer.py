"""The commands export and import: the index of a run goes into a file, and into another server."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from fiftyone_redis import server
from fiftyone_redis.engine import connect, index_file
from fiftyone_redis.engine.lifecycle import adding


@pytest.fixture
def other_server():
    """A second Redis, which is empty."""
    # A path to a socket may have about 100 characters only, so pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="fr-", dir="/tmp"))
    yield server.start(folder)
    server.stop(folder)
    shutil.rmtree(folder)


@pytest.fixture
def exported(run, name, tmp_path) -> Path:
    """The file of the index "key"."""
    path = tmp_path / "birds.parquet"
    assert run("export", name, "key", path).output == f"Exported 30 vectors to {path}.\n"
    return path


def documents_of(client) -> list[dict[bytes, bytes]]:
    """The documents of all indexes, by what they hold."""
    keys = client.execute_command("KEYS", "fiftyone-*")
    return sorted((client.hgetall(key) for key in keys), key=str)


def test_a_run_moves_to_another_server(run, name, exported, dataset, client, other_server):
    before = documents_of(client)
    moved = run("import", exported, "--url", other_server.url)
    assert moved.output == f"Imported 30 vectors into 'key' of '{name}'.\n"
    with connect(other_server.url) as there:
        assert documents_of(there) == before
    assert dataset.list_brain_runs() == ["key"]

    dataset.clear_cache()
    there = dataset.load_brain_results("key", url=other_server.url)
    here = dataset.first().id
    assert there.find_nearest(here, 5)[0][0] == here
    assert str(there.sync(dry_run=True)) == "Nothing to do."


def test_a_file_makes_a_run_of_another_key(run, name, exported, dataset, client):
    made = json.loads(run("import", exported, name, "copy", "--json").stdout)
    assert (made["brain_key"], made["vectors"], made["added"]) == ("copy", 30, 30)
    first, second = (dataset.load_brain_results(key) for key in ("key", "copy"))
    assert made["index_name"] == second.config.index_name != first.config.index_name
    ids = dataset.values("id")
    assert np.array_equal(first.get_embeddings(ids)[0], second.get_embeddings(ids)[0])
    assert second.config.embeddings_field == "vector"


def test_settings_and_stored_fields_come_along(run, dataset, client, tmp_path):
    fob.compute_similarity(
        dataset,
        embeddings="vector",
        brain_key="key",
        backend="redis",
        algorithm="HNSW",
        m=8,
        dtype="float16",
        metric="euclidean",
        attributes=["filepath", "tags"],
    )
    before = documents_of(client)
    run("export", dataset.name, "key", tmp_path / "birds.arrow")
    run("drop", dataset.name, "key", "--yes")
    dataset.reload()
    assert run("import", tmp_path / "birds.arrow").exit_code == 0
    assert documents_of(client) == before
    dataset.reload()
    index = dataset.load_brain_results("key")
    schema = index.open_index().schema
    assert (schema.algorithm, schema.m, schema.dtype) == ("HNSW", 8, "float16")
    assert index.config.stored_fields == (("filepath", "TAG"), ("tags", "TAG"))
    assert index.update_attributes() == 0


def test_patches_come_with_their_samples(run, redis_backend, client, tmp_path):
    dataset = fo.Dataset()
    boxes = [fo.Detection(bounding_box=[0.1 * n, 0, 0.1, 0.1], label="a") for n in range(4)]
    dataset.add_sample(fo.Sample(filepath="/a.jpg", boxes=fo.Detections(detections=boxes)))
    vectors = np.random.default_rng(51).normal(size=(4, 8))
    fob.compute_similarity(
        dataset,
        patches_field="boxes",
        embeddings={dataset.first().id: vectors},
        brain_key="key",
        backend="redis",
    )
    before = documents_of(client)
    run("export", dataset.name, "key", tmp_path / "boxes.parquet")
    run("drop", dataset.name, "key", "--yes")
    dataset.reload()
    assert run("import", tmp_path / "boxes.parquet").exit_code == 0
    dataset.reload()
    assert documents_of(client) == before
    index = dataset.load_brain_results("key")
    assert index.config.patches_field == "boxes"
    assert index.get_embeddings(sample_ids=[dataset.first().id])[0].shape == (4, 8)
    dataset.delete()


def test_vectors_that_are_there_are_replaced_after_a_yes(run, name, exported, dataset):
    index = dataset.load_brain_results("key")
    extra = str(dataset.add_sample(fo.Sample(filepath="/new.jpg")))
    index.add_to_index(np.ones((1, 8)), [extra])

    refused = run("import", exported, answer="n\n")
    assert refused.exit_code == 1
    assert f"Delete the 31 vectors that 'key' of '{name}' has now?" in refused.stderr
    assert index.total_index_size == 31

    assert run("import", exported, answer="y\n").exit_code == 0
    assert index.total_index_size == 30


def test_an_index_that_other_runs_use_is_not_replaced_without_force(run, name, exported, dataset):
    clone = dataset.clone()
    refused = run("import", exported, "--yes")
    assert refused.exit_code == 1
    assert clone.name in refused.stderr
    assert run("import", exported, "--yes", "--force").exit_code == 0
    clone.delete()


def test_an_interrupted_import_goes_on_without_a_question(
    run, name, exported, dataset, other_server, monkeypatch
):
    monkeypatch.setattr(index_file, "PART_BYTES", 20 * 4 * 8)
    add = adding.add

    def add_once(*arguments):
        monkeypatch.setattr(adding, "add", stop)
        add(*arguments)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(adding, "add", add_once)
    assert run("import", exported, "--url", other_server.url).exit_code == 1
    monkeypatch.setattr(adding, "add", add)
    resumed = run("import", exported, "--url", other_server.url)
    assert resumed.output == (f"Imported 10 vectors into 'key' of '{name}'. Already there: 20.\n")


def test_a_file_of_other_samples_is_refused(run, exported):
    other = fo.Dataset()
    other.add_sample(fo.Sample(filepath="/other.jpg"))
    refused = run("import", exported, other.name, "key")
    assert refused.exit_code == 1
    assert f"are not in the dataset '{other.name}'" in refused.stderr
    assert other.list_brain_runs() == []
    other.delete()


def test_a_file_of_another_model_is_refused(run, name, dataset, tmp_path):
    index = dataset.load_brain_results("key")
    for model in ("one", "two"):
        index.config.model = model
        index.save_config()
        run("export", name, "key", tmp_path / f"{model}.parquet")
    refused = run("import", tmp_path / "one.parquet", "--yes")
    assert refused.exit_code == 1
    assert "has model='two', but the file has 'one'" in refused.stderr
    assert index.total_index_size == 30


def test_a_file_that_is_there_is_replaced_after_a_yes(run, name, exported):
    exported.write_text("mine")
    refused = run("export", name, "key", exported, answer="n\n")
    assert (refused.exit_code, exported.read_text()) == (1, "mine")
    assert run("export", name, "key", exported, "--yes").exit_code == 0
    assert exported.read_bytes().startswith(b"PAR1")


def test_names_of_files_are_checked_before_anything_is_read(run, tmp_path):
    told = run("export", "none", "key", tmp_path / "birds.csv")
    assert (told.exit_code, "must end in .parquet" in told.stderr) == (1, True)
    told = run("export", "none", "key", tmp_path / "none" / "birds.arrow")
    assert (told.exit_code, "There is no folder" in told.stderr) == (1, True)
    assert run("import", tmp_path / "none.parquet").exit_code == 1
