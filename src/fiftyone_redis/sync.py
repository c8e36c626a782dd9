"""Keeps an index in step with its dataset; see ``similarity/sync.py``."""

from fiftyone_redis.similarity.sync import (
    Difference,
    SyncResult,
    add_missing,
    difference,
    load_model,
    loading,
    remove_gone,
    sync,
)

__all__ = [
    "Difference",
    "SyncResult",
    "add_missing",
    "difference",
    "load_model",
    "loading",
    "remove_gone",
    "sync",
]
