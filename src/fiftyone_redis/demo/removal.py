"""What the demo leaves in FiftyOne, in Redis and on disk, and how that is removed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

from fiftyone_redis.demo import datasets
from fiftyone_redis.demo.model import SOURCE
from fiftyone_redis.demo.report import heading, line
from fiftyone_redis.demo.subjects import DIGITS_KEY, PATCHES_KEY, SAMPLES_KEY, SCENES_KEY
from fiftyone_redis.errors import IndexInUseError

_KEYS = (DIGITS_KEY, SCENES_KEY, SAMPLES_KEY, PATCHES_KEY)


def remove(folder: Path) -> None:
    """Removes everything that runs of the demo have left, and reports it.

    A dataset of the zoo that was there before stays, without the demo's indexes. So do files that
    FiftyOne has downloaded, and an index that other runs use.

    Args:
        folder: the folder for images

    Raises:
        FiftyOneRedisError: if the server does not answer; nothing is removed then
    """
    heading("Removing")
    names = [name for name in _list_noted() if fo.dataset_exists(name)]
    # The server is asked for all of them first.
    loaded = [fo.load_dataset(name) for name in names]
    runs = [(each, key) for each in loaded for key in _KEYS if each.has_brain_run(key)]
    indexes = [each.load_brain_results(key) for each, key in runs]
    for (dataset, key), index in zip(runs, indexes, strict=True):
        _drop(dataset, key, index)
    for dataset in loaded:
        _remove_dataset(dataset)
    removed = _remove_files(folder)
    if not names and not removed:
        line("nothing", "The demo has left nothing.")


def _list_noted() -> list[str]:
    """Returns the names of the demo's datasets, and of those of the zoo that it used."""
    used = {
        "$or": [{f"info.{datasets.NOTE}": {"$exists": True}}, {"name": {"$in": datasets.NAMES}}]
    }
    found = foo.get_db_conn()["datasets"].find(used, {"name": 1})
    return sorted(each["name"] for each in found)


def _drop(dataset: fo.Dataset, key: str, index: Any) -> None:
    what = f"{key}, of the dataset {dataset.name}"
    try:
        if index is not None:  # else creating it was interrupted
            index.cleanup()
    except IndexInUseError:
        what += "; its vectors stay, since other runs use them"
    dataset.delete_brain_run(key)
    line("index", what)


def _remove_dataset(dataset: fo.Dataset) -> None:
    """Deletes a dataset if the demo has made it, else leaves it as it was."""
    noted, name = dataset.info.pop(datasets.NOTE, {}), dataset.name
    picture = Path(noted.get("picture", ""))
    if picture.is_file():
        picture.unlink()
        line("picture", str(picture))
    if name in datasets.NAMES or noted.get("is_new"):
        dataset.delete()
        line("dataset", name)
        return
    dataset.save()
    dataset.persistent = noted.get("was_persistent", dataset.persistent)
    line("dataset", f"{name} stays, since it was there before")


def _remove_files(folder: Path) -> bool:
    """Deletes the images and the model; returns whether there were any."""
    model = Path(fo.config.model_zoo_dir) / SOURCE
    folders = [folder / name for name in datasets.FOLDERS]
    there = [path for path in (*folders, model) if path.is_dir()]
    shutil.rmtree(model, ignore_errors=True)
    for images in filter(Path.is_dir, folders):
        datasets.empty(images)
    for path in (*folders, folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for path in there:
        line("files", str(path))
    return bool(there)
