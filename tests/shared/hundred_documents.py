"""A hundred documents, which tests of connections write and read."""

import numpy as np
import redis

from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.documents.documents import Documents

DIM = 4
SCHEMA = Schema("docs", DIM)
IDS = [f"{row:03}" for row in range(100)]
MATRIX = np.random.default_rng(51).normal(size=(100, DIM)).astype(np.float32)


def write(client: redis.Redis) -> None:
    for _ in Documents(client, SCHEMA).write(IDS, MATRIX, {}):
        pass


def blobs(client: redis.Redis) -> dict[str, bytes]:
    """Returns the vectors of all documents."""
    return {
        id: row[0]
        for batch, rows in Documents(client, SCHEMA).read(IDS, ["vector"])
        for id, row in zip(batch, rows, strict=True)
    }
