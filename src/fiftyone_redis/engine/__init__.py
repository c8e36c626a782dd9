"""Vector indexes on a Redis server. Knows nothing of FiftyOne: ids are strings, vectors arrays.

Names are imported lazily, so that importing the exceptions loads neither numpy nor redis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiftyone_redis.connection.client import connect
    from fiftyone_redis.engine.documents.reading import Vectors
    from fiftyone_redis.engine.index import VectorIndex
    from fiftyone_redis.engine.schema.schema import Attribute, Schema
    from fiftyone_redis.engine.search.knn_search import Neighbors

__all__ = ["Attribute", "Neighbors", "Schema", "VectorIndex", "Vectors", "connect"]

_MODULES = {
    "Attribute": "engine.schema.schema",
    "Neighbors": "engine.search.knn_search",
    "Schema": "engine.schema.schema",
    "VectorIndex": "engine.index",
    "Vectors": "engine.documents.reading",
    "connect": "connection.client",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"fiftyone_redis.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
