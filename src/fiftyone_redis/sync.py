"""Keeps an index in step with its dataset; see ``similarity/sync.py``."""

from fiftyone_redis.similarity.comparison import Difference, difference
from fiftyone_redis.similarity.models import load_model, loading
from fiftyone_redis.similarity.sync import SyncResult, add_missing, remove_gone, sync

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
