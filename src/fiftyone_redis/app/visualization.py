"""Computes visualizations for FiftyOne's Embeddings panel from the vectors of an index."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import fiftyone.brain as fob

from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import InputError

_FEWEST = {"pca": 3, "umap": 5}  # vectors; umap-learn raises a TypeError for three
_READING = 0.5  # of the whole work


def list_methods() -> dict[str, str]:
    """Returns the methods that work here, the best one first, each with a description."""
    methods = {"pca": "PCA: fast, shows the two directions in which vectors differ most"}
    if has_umap():
        methods = {"umap": "UMAP: shows clusters, takes minutes for 100,000 vectors"} | methods
    return methods


def has_umap() -> bool:
    """Returns whether the package umap-learn is installed."""
    return find_spec("umap") is not None


def compute(index: Any, brain_key: str, method: str, report: Report) -> int:
    """Computes a visualization of what is indexed, and returns how many points it has.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
        brain_key: the key of the new run
        method: one of :func:`list_methods`
        report: called with the progress

    Raises:
        InputError: if there are too few vectors
        FiftyOneRedisError: if the server cannot be read
    """
    if index.total_index_size < _FEWEST[method]:
        raise InputError(
            f"{method.upper()} needs {_FEWEST[method]} vectors; index missing samples first."
        )

    def read(**ids: Any) -> Any:
        def follow(bar: Any) -> None:
            report(_READING * (bar.progress or 0.0), "Reading the vectors")

        ids["warn_missing"] = False
        found = index.get_embeddings(**ids, progress=follow)
        report(_READING, f"Computing {method.upper()}")
        return found

    results = fob.compute_visualization(
        index.samples,
        patches_field=index.config.patches_field,
        brain_key=brain_key,
        method=method,
        # FiftyOne uses these two, and would tell nothing while it reads.
        similarity_index=SimpleNamespace(key=index.key, get_embeddings=read),
        progress=False,
    )
    _delete_if_stopped(index.samples._root_dataset, brain_key, report)
    return len(results.points)


def _delete_if_stopped(dataset: Any, brain_key: str, report: Report) -> None:
    """Deletes a visualization that was cancelled; FiftyOne cannot be stopped before it is saved."""
    with ExitStack() as undo:
        undo.callback(dataset.delete_brain_run, brain_key)
        report(1, "Saving the points")
        undo.pop_all()
