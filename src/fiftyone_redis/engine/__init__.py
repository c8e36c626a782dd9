"""Vector indexes on a Redis server: strings for ids, arrays for vectors, nothing of FiftyOne."""

from fiftyone_redis.engine.connection import connect
from fiftyone_redis.engine.index import VectorIndex
from fiftyone_redis.engine.reading import Vectors
from fiftyone_redis.engine.schema import Attribute, Schema
from fiftyone_redis.engine.search import Neighbors

__all__ = ["Attribute", "Neighbors", "Schema", "VectorIndex", "Vectors", "connect"]
