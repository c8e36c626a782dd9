"""Keeps an index in step with its dataset; see ``similarity/sync.py``."""

from fiftyone_redis.similarity.sync import (
    Difference,
    add_missing,
    difference,
    load_model,
    loading,
    remove_gone,
)

__all__ = ["Difference", "add_missing", "difference", "load_model", "loading", "remove_gone"]
