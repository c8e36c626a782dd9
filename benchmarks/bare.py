"""What the server can do at best: the same work without this package.

For writing, requests that were prepared beforehand go down a socket, and a second thread reads the
replies, so that neither side ever waits for the other; and redis-py's own pipeline writes the same
documents, as anybody would without this package. For searching, redis-py's own ``hget`` and
one raw ``FT.SEARCH``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

import redis
from data import Matrix

from fiftyone_redis.connection.protocol.wire import pack

_CHUNK = 1 << 18
_BATCH = 1000  # of 100, 300, 3000 and 10000 none was faster


def client(port: int) -> redis.Redis:
    """Returns a client as ``redis.Redis()`` gives it, but for undecoded replies in RESP2."""
    return redis.Redis(port=port, protocol=2)


def requests(prefix: str, ids: Sequence[str], vectors: Matrix) -> bytes:
    """Returns one HSET per vector, as the bytes that go over the wire."""
    return b"".join(
        pack(["HSET", prefix + id, "vector", vector.tobytes()])
        for id, vector in zip(ids, vectors, strict=True)
    )


def push(port: int, prepared: bytes, replies: int) -> None:
    """Sends requests, and reads the replies meanwhile.

    Args:
        port: the server's
        prepared: the requests
        replies: how many they are

    Raises:
        RuntimeError: if the server refuses one, or closes the connection
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        sender = threading.Thread(target=connection.sendall, args=(prepared,))
        sender.start()
        while replies > 0:
            received = connection.recv(_CHUNK)
            if not received or b"-" in received:
                raise RuntimeError(f"The server refused a request: {received[:100]!r}")
            replies -= received.count(b"\n")
        sender.join()


def pipeline(client: redis.Redis, prefix: str, ids: Sequence[str], vectors: Matrix) -> None:
    """Writes one HASH per vector by redis-py's pipeline, so many at a time as is fastest.

    Args:
        client: from :func:`client`
        prefix: what the keys start with
        ids: the rest of the keys
        vectors: the vectors
    """
    for start in range(0, len(ids), _BATCH):
        batch = slice(start, start + _BATCH)
        with client.pipeline(transaction=False) as pipe:
            for id, vector in zip(ids[batch], vectors[batch], strict=True):
                pipe.hset(prefix + id, "vector", vector.tobytes())
            pipe.execute()


def nearest(client: redis.Redis, index: str, key: str, k: int) -> list[str]:
    """Reads a document's vector, and returns the keys of the nearest documents, nearest first."""
    return search(client, index, client.hget(key, "vector"), k)


def search(
    client: redis.Redis, index: str, vector: Any, k: int, ef: int | None = None
) -> list[str]:
    """Returns the keys of the documents nearest to a vector, nearest first.

    Args:
        client: from :func:`client`
        index: the index's name
        vector: the vector's bytes
        k: how many
        ef: HNSW's candidates at query time, by default the index's own
    """
    attribute = "" if ef is None else f" EF_RUNTIME {ef}"
    reply: Any = client.execute_command(
        *("FT.SEARCH", index, f"*=>[KNN {k} @vector $vector{attribute} AS distance]"),
        *("RETURN", 1, "distance", "SORTBY", "distance", "LIMIT", 0, k),
        *("PARAMS", 2, "vector", vector, "DIALECT", 2),
    )
    return [key.decode() for key in reply[1::2]]
