"""What the demo leaves is told, and removed by one command."""

from __future__ import annotations

import json
from pathlib import Path

import fiftyone as fo
import fiftyone.zoo as foz
import pytest
from click.testing import CliRunner, Result

from fiftyone_redis.cli.main import main
from fiftyone_redis.demo import datasets
from fiftyone_redis.demo.model import NAME, SOURCE


@pytest.fixture
def folder(tmp_path, monkeypatch, redis_backend) -> Path:
    """The demo's folder."""
    monkeypatch.setenv("FIFTYONE_REDIS_DEMO_DIR", str(tmp_path / "demo"))
    return tmp_path / "demo"


def demo(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["demo", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def names_of(client) -> list[str]:
    return client.execute_command("FT._LIST")


def test_a_dataset_that_the_demo_loaded_is_removed(
    zoo_dataset, folder, client, redis_server, unused_port
):
    told = demo("--dataset", zoo_dataset, "--model", NAME).stdout
    assert "fiftyone-redis demo --remove" in told
    assert len(names_of(client)) == 2
    assert (folder / "neighbours.png").exists()

    fo.load_dataset(zoo_dataset).clear_cache()
    nowhere = f"redis://127.0.0.1:{unused_port()}"
    refused = CliRunner().invoke(main, ["demo", "--remove", "--url", nowhere])
    assert (refused.exit_code, "No Redis answers" in refused.stderr) == (1, True)
    assert len(fo.load_dataset(zoo_dataset).list_brain_runs()) == 2

    removed = demo("--remove", "--url", redis_server.url).stdout
    assert f"redis_patches, of the dataset {zoo_dataset}" in removed
    assert names_of(client) == []
    assert client.dbsize() == 0
    assert not fo.dataset_exists(zoo_dataset)
    assert not folder.exists()
    assert not (Path(fo.config.model_zoo_dir) / SOURCE).exists()

    assert "The demo has left nothing." in demo("--remove").stdout


def test_a_dataset_that_was_there_before_stays_as_it_was(zoo_dataset, folder, client):
    dataset = foz.load_zoo_dataset(zoo_dataset)
    fields, info = [*dataset.get_field_schema()], dict(dataset.info)
    demo("--dataset", zoo_dataset, "--model", NAME)
    dataset.reload()
    assert dataset.persistent

    entries = json.loads(demo("--remove", "--json").stdout)
    assert {entry["step"] for entry in entries} == {"index", "picture", "dataset", "files"}
    assert {entry["heading"] for entry in entries} == {"Removing"}
    dataset.reload()
    assert dataset.list_brain_runs() == []
    assert (dataset.persistent, dict(dataset.info)) == (False, info)
    assert [*dataset.get_field_schema()] == fields
    assert names_of(client) == []


@pytest.mark.slow
def test_the_digits_and_scenes_are_removed(folder, client):
    demo()
    assert set(datasets.NAMES) <= set(fo.list_datasets())
    demo("--remove")
    assert not set(datasets.NAMES) & set(fo.list_datasets())
    assert client.dbsize() == 0
    assert not folder.exists()
