"""The commands on indexes, on a real dataset, database and Redis."""

from __future__ import annotations

import json

import fiftyone as fo
import pytest
from PIL import Image

from fiftyone_redis.demo import images
from fiftyone_redis.demo.model import register_model
from fiftyone_redis.engine import VectorIndex

ADDRESSED = [
    ["ls"],
    ["info", "{}", "key"],
    ["doctor"],
    ["create", "{}", "made", "--embeddings", "vector"],
]
VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_"


def test_an_index_is_made_from_a_field_and_described(run, dataset):
    made = run("create", dataset.name, "made", "--embeddings", "vector", "--dtype", "float16")
    assert (made.exit_code, made.output.strip()) == (0, "30 added.")
    told = json.loads(run("info", dataset.name, "made", "--json").output)
    assert (told["vectors"], told["dim"], told["dtype"]) == (30, 8, "float16")
    assert "float16" in run("info", dataset.name, "made").output


def test_all_indexes_are_listed_with_the_runs_that_use_them(run, name):
    lines = run("ls").output.splitlines()
    assert lines[0].split("\t")[:3] == ["DATASET/BRAIN KEY", "VECTORS", "MEMORY"]
    assert lines[1].split("\t")[:2] == [f"{name}/key", "30"]
    [entry] = json.loads(run("ls", "--json").stdout)
    assert entry["documents"] == 30
    assert entry["used_by"] == [{"dataset": name, "brain_key": "key"}]
    assert entry["memory"] > 30 * 8 * 4


def test_a_sync_tells_what_it_did(run, name, dataset):
    dataset.add_sample(fo.Sample(filepath="/new.jpg", vector=[1.0] * 8))
    assert run("sync", name, "key", "--dry-run").output.strip() == "Would add 1."
    result = json.loads(run("sync", name, "key", "--json").output)
    assert len(result["added"]) == 1
    assert run("sync", name, "key").output.strip() == "Nothing to do."


def test_the_nearest_are_printed_with_their_files(run, name, dataset):
    sample = dataset.first()
    lines = run("search", name, "key", sample.id, "-k", "3").output.splitlines()
    assert lines[1].split() == ["0.0000", sample.id, sample.filepath]
    assert len(lines) == 4
    assert len(json.loads(run("search", name, "key", sample.id, "--json").output)) == 10


def test_an_index_is_rebuilt(run, name):
    assert run("rebuild", name, "key").exit_code == 2
    assert run("rebuild", name, "key", "--algorithm", "colour").exit_code == 2
    rebuilt = run("rebuild", name, "key", "--algorithm", "hnsw")
    assert rebuilt.output.strip() == "Rebuilt as HNSW, cosine, float32."
    assert "HNSW" in run("ls").output


def test_an_index_is_dropped_after_a_yes(run, name, dataset):
    refused = run("drop", name, "key", answer="n\n")
    assert (refused.exit_code, dataset.list_brain_runs()) == (1, ["key"])
    assert "Delete 30 vectors" in refused.output
    assert run("drop", name, "key", answer="y\n").exit_code == 0
    dataset.reload()
    assert dataset.list_brain_runs() == []
    assert run("ls").output.strip() == "There are no vector indexes."


def test_what_no_run_uses_is_deleted_after_a_yes(run, name, dataset, client):
    index_name = dataset.get_brain_info("key").config.index_name
    assert run("prune").output.strip() == "Nothing to delete."
    dataset.delete_brain_run("key")
    assert f"{index_name}  30 vectors" in run("prune", answer="n\n").output
    assert VectorIndex.exists(client, index_name)
    assert run("prune", "--yes").output.splitlines() == ["Deleted 1 index:", f"- {index_name}"]
    assert not VectorIndex.exists(client, index_name)


def test_names_that_do_not_exist_are_told_with_those_that_do(run, name):
    assert f"there are: {name}" in run("info", "none", "key").output
    told = run("sync", name, "other")
    assert (told.exit_code, "it has: key" in told.output) == (1, True)


def test_an_index_that_cannot_be_filled_is_not_left(run, dataset):
    for arguments in (["--embeddings", "none"], ["--embeddings", "empty"]):
        dataset.add_sample_field("empty", fo.VectorField)
        told = run("create", dataset.name, "made", *arguments)
        assert told.exit_code == 1
        assert isinstance(told.exception, SystemExit)
        dataset.reload()
        assert dataset.list_brain_runs() == []
    assert "There is nothing to index" in told.stderr


def test_an_index_gets_another_key(run, name, dataset):
    index_name = dataset.get_brain_info("key").config.index_name
    assert run("rename", name, "key", "other").output == (
        f"Renamed 'key' of '{name}' to 'other'.\n"
    )
    dataset.reload()
    assert dataset.list_brain_runs() == ["other"]
    assert dataset.get_brain_info("other").config.index_name == index_name
    assert run("rename", name, "other", "other").exit_code == 1
    assert "letters, digits and underscores" in run("rename", name, "other", "no key").stderr
    assert "it has: other" in run("rename", name, "key", "new").stderr


def test_datasets_that_are_not_named_are_counted(run, name):
    others = [fo.Dataset() for _ in range(6)]
    known = len(fo.list_datasets())
    assert f" and {known - 5} more.\n" in run("info", "none", "key").stderr
    for each in others:
        each.delete()


def test_a_picture_that_is_not_there_is_no_text(run, name):
    told = run("search", name, "key", "none.jpg")
    assert (told.exit_code, told.stderr) == (
        1,
        "Error: There is no file 'none.jpg'; check its path.\n",
    )


def test_other_users_are_named_before_an_index_is_dropped(run, name, dataset):
    clone = dataset.clone()
    told = run("drop", name, "key", answer="n\n")
    assert f"The index is also used by 'key' of the dataset '{clone.name}'." in told.stderr
    assert run("drop", name, "key", "--yes").exit_code == 1
    assert run("drop", name, "key", "--yes", "--force").exit_code == 0
    clone.delete()


def test_an_index_that_no_run_uses_is_listed_by_its_name(run, name, dataset):
    index_name = dataset.get_brain_info("key").config.index_name
    dataset.delete_brain_run("key")
    listed = run("ls")
    assert f"(no run) {index_name}\t30" in listed.stdout
    assert "1 index is not used by any run" in listed.stderr
    assert json.loads(run("ls", "--json").stdout)[0]["used_by"] == []


@pytest.mark.parametrize("command", ADDRESSED)
def test_an_address_on_the_command_line_takes_the_place_of_another_one(
    run, name, redis_server, redis_backend, monkeypatch, command
):
    del redis_backend["url"]
    monkeypatch.delenv(f"{VARIABLE}URL")
    for setting, value in (("host", "127.0.0.1"), ("port", "1"), ("password", "of another one")):
        redis_backend[setting] = value
        monkeypatch.setenv(VARIABLE + setting.upper(), value)
    arguments = [each.format(name) for each in command]
    assert run(*arguments).exit_code == 1
    assert run(*arguments, "--url", redis_server.url).exit_code == 0


def test_a_picture_and_a_text_find_what_is_like_them(run, redis_backend, tmp_path):
    pixels, labels = images.digits()
    dataset = fo.Dataset()
    for row in range(20):
        Image.fromarray(images.draw(pixels[row])).save(tmp_path / f"{row}.png")
        dataset.add_sample(fo.Sample(filepath=str(tmp_path / f"{row}.png")))
    made = run("create", dataset.name, "digits", "--model", register_model())
    assert made.stdout == "20 added.\n"

    found = json.loads(
        run("search", dataset.name, "digits", tmp_path / "7.png", "-k", "3", "--json").stdout
    )
    assert found[0]["filepath"] == str(tmp_path / "7.png")
    assert [each["distance"] for each in found] == sorted(each["distance"] for each in found)
    assert found[0]["distance"] < 1e-3

    [nearest] = json.loads(
        run("search", dataset.name, "digits", "a seven", "-k", "1", "--json").stdout
    )
    assert labels[int(nearest["filepath"].rpartition("/")[2].removesuffix(".png"))] == 7
    dataset.delete()
