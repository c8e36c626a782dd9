"""Exports the index of a run to a file, and imports one into a run, on any server.

The file holds the vectors, and what the run must know to go on: its model or field, its patches
field, the stored fields, and the settings of the index.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bson import ObjectId

from fiftyone_redis.backend import RedisSimilarityConfig
from fiftyone_redis.engine import transfer
from fiftyone_redis.engine.index_file import Header, IndexFile, check_path, open_file
from fiftyone_redis.errors import InputError, format_count, list_first
from fiftyone_redis.similarity.progress import bar as progress_bar
from fiftyone_redis.similarity.sources import SOURCE

# What the config of a run says besides the settings of its index and where that is.
_RUN = ("embeddings_field", "model", "model_kwargs", "patches_field", "roi_field")
_RUN_SETTINGS = (*_RUN, "supports_prompts", "query_timeout", "attributes")


@dataclass(frozen=True)
class Transfer:
    """What was exported or imported.

    Args:
        dataset: the name of the dataset
        brain_key: the brain key
        index_name: the name of the index
        vectors: how many vectors the file has
        added: how many of them were written; the others were there
    """

    dataset: str
    brain_key: str
    index_name: str
    vectors: int
    added: int


def export_index(index: Any, path: Path, progress: Any = None) -> Transfer:
    """Exports the index of a run to a file.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        path: the path of the file, which ends in ``.parquet`` or ``.arrow``
        progress (None): whether to render a progress bar (True/False), or None for FiftyOne's
            default

    Raises:
        MissingPackageError: if pyarrow is not installed
        FiftyOneRedisError: if the index cannot be read, or the file cannot be written
    """
    check_path(path)
    opened, config = index.open_index(), index.config
    saved = config.serialize()
    dataset = index.samples._root_dataset.name
    about = {
        "dataset": dataset,
        "brain_key": index.key,
        "index_name": config.index_name,
        "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "run": {name: saved[name] for name in _RUN_SETTINGS if saved.get(name) is not None},
    }
    with progress_bar(len(opened), progress, "Exporting") as bar:
        count = transfer.write_index(opened.definition, path, about, [SOURCE], bar.update)
    return Transfer(dataset, index.key, config.index_name, count, count)


def count_replaced(dataset: Any, brain_key: str, path: Path, **connection: Any) -> int:
    """Returns how many vectors :func:`import_index` would delete before it adds those of a file.

    There are none if the run has no index, or if an import of the same file was interrupted.
    """
    if not dataset.has_brain_run(brain_key):
        return 0
    opened = _load(dataset, brain_key, connection).find_index()
    if opened is None:
        return 0
    with open_file(path) as file:
        is_interrupted = _is_interrupted(opened, file)
    return 0 if is_interrupted else len(opened)


def import_index(
    dataset: Any,
    brain_key: str,
    path: Path,
    *,
    replace: bool = False,
    force: bool = False,
    progress: Any = None,
    **connection: Any,
) -> Transfer:
    """Imports a file into the index of a run, which is made if it does not exist.

    It can be called again if it is interrupted, and goes on then.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset` with the samples that the file is of
        brain_key: the key of the run
        path: the path of the file
        replace: whether to delete an index that has vectors already
        force: whether to delete an index that other runs use, too
        progress (None): whether to render a progress bar (True/False), or None for FiftyOne's
            default
        **connection: connection settings, as for :class:`RedisSimilarityConfig`

    Raises:
        MissingPackageError: if pyarrow is not installed
        InputError: if the file does not fit the dataset or the run, or the index has vectors
        IndexInUseError: if other runs use the index, unless forced
        FiftyOneRedisError: if the server refuses
    """
    with open_file(path) as file:
        index = _prepare(dataset, brain_key, file, connection, replace=replace, force=force)
        try:
            with progress_bar(file.count, progress, "Importing") as bar:
                added = transfer.read_index(index.open_index().definition, file, bar.update)
        finally:
            index._clear_cache()
    return Transfer(dataset.name, brain_key, index.config.index_name, file.count, added)


def _prepare(
    dataset: Any,
    brain_key: str,
    file: IndexFile,
    connection: dict[str, Any],
    *,
    replace: bool,
    force: bool,
) -> Any:
    """Returns the run's index, empty or with a part of the file; makes what is missing."""
    header = file.header
    if not dataset.has_brain_run(brain_key):
        _refuse_other_samples(dataset, file)
        index = _create_run(dataset, brain_key, header, connection)
    else:
        index = _load(dataset, brain_key, connection)
        _refuse_other_run(index, header)
        _refuse_other_samples(index.samples, file)
        opened = index.find_index()
        if opened is not None and _is_interrupted(opened, file):
            return index
        if opened is not None:
            _remove(index, len(opened), replace=replace, force=force)
    for name, value in {**header.options, "vector_field": None, "id_field": None}.items():
        setattr(index.config, name, value)
    index._create_index(header.dim)
    index.save_config()
    return index


def _create_run(dataset: Any, brain_key: str, header: Header, connection: dict[str, Any]) -> Any:
    """Registers a run without vectors, as ``compute_similarity(embeddings=False)`` does."""
    config = RedisSimilarityConfig(**header.about["run"], **header.options)
    config.load_credentials(**connection)
    backend = config.build()
    backend.ensure_requirements()
    backend.register_run(dataset, brain_key, overwrite=False)
    index = backend.initialize(dataset, brain_key)
    backend.save_run_results(dataset, brain_key, index)
    return index


def _load(dataset: Any, brain_key: str, connection: dict[str, Any]) -> Any:
    index = dataset.load_brain_results(brain_key, cache=False, **connection)
    if not isinstance(getattr(index, "config", None), RedisSimilarityConfig):
        raise InputError(
            f"{brain_key!r} of {dataset.name!r} is not a finished run of this package; choose "
            "another brain key."
        )
    return index


def _is_interrupted(opened: Any, file: IndexFile) -> bool:
    """Returns whether an index has a part of a file, whose import was interrupted."""
    found = transfer.read_import(opened.client, opened.schema.name)
    return found == file.header.export_id


def _remove(index: Any, count: int, *, replace: bool, force: bool) -> None:
    """Deletes the index of a run, if that was agreed to."""
    if count and not replace:
        raise InputError(
            f"The index of {index.key!r} has {format_count(count, 'vector')} already; pass "
            "replace=True to delete them, or choose another brain key."
        )
    index.cleanup(force=force)


def _refuse_other_run(index: Any, header: Header) -> None:
    """Raises unless a run is of the same patches and the same model as a file."""
    run = header.about["run"]
    for name in ("patches_field", "model"):
        own, written = getattr(index.config, name), run.get(name)
        if own != written and (name == "patches_field" or None not in (own, written)):
            raise InputError(
                f"The run {index.key!r} has {name}={own!r}, but the file has {written!r}; choose "
                "another brain key."
            )


def _refuse_other_samples(samples: Any, file: IndexFile) -> None:
    """Raises unless some of the first samples of a file are those of a dataset."""
    page = next(file.read_pages(), None)
    if page is None:
        return
    are_patches = "patches_field" in file.header.about["run"]
    ids = page.fields[file.header.fields[0]] if are_patches else page.ids
    wanted = {"_id": {"$in": [ObjectId(id) for id in {*ids} if ObjectId.is_valid(id)]}}
    dataset = samples._dataset
    if not dataset._sample_collection.count_documents(wanted, limit=1):
        raise InputError(
            f"The samples of the file ({list_first([repr(id) for id in ids])}) are not in the "
            f"dataset {dataset.name!r}; the file belongs to another one. Nothing was imported."
        )
