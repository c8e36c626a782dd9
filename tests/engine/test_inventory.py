"""The indexes of a server, and the memory of one."""

import numpy as np
import redis

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.inventory import estimate_memory


def test_documents_are_measured_in_one_round_trip(client, monkeypatch):
    index = VectorIndex.create(client, Schema("measured", 4))
    index.add([f"{row:024x}" for row in range(100)], np.ones((100, 4), np.float32))
    sent, send = [], redis.connection.AbstractConnection.send_packed_command

    def watch(connection, command, **options):
        sent.append(b"".join(command))
        return send(connection, command, **options)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", watch)
    found = estimate_memory(client, index.info())
    asked = [request.count(b"USAGE") for request in sent if b"MEMORY" in request]
    assert asked == [16]
    assert found > 100 * client.memory_usage(f"measured:{0:024x}")
