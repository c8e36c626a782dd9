"""Vector indexes on a Redis server: strings for ids, arrays for vectors, nothing of FiftyOne."""

from fiftyone_redis.engine.connection import connect
from fiftyone_redis.engine.index import Neighbors, VectorIndex, Vectors
from fiftyone_redis.engine.schema import Schema

__all__ = ["Neighbors", "Schema", "VectorIndex", "Vectors", "connect"]
