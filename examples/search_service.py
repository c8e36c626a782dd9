"""Searches an index of fiftyone-redis with redis-py and numpy alone: filter, query, file paths.

    python search_service.py INDEX QUERY.npy [--filter "@tags:{validated}"] [-k 10] [--url URL]

INDEX is `config.index_name` of a run that was made with `attributes=["filepath", ...]`; QUERY.npy
holds one vector, as `numpy.save` writes it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import redis
from redis.commands.search.query import Query

DTYPES = {"FLOAT16": "<f2", "FLOAT32": "<f4", "FLOAT64": "<f8"}


@dataclass(frozen=True)
class Vectors:
    """The vectors of an index: their field, their numpy type, their dimension."""

    field: str
    dtype: str
    dim: int


def vectors_of(client: redis.Redis, index: str) -> Vectors:
    """Asks the server what the vectors of an index are."""
    info = client.ft(index).info()
    for attribute in info["attributes"]:
        facts = [part.decode() if isinstance(part, bytes) else part for part in attribute]
        if "VECTOR" in facts:
            said = dict(zip(facts[::2], facts[1::2], strict=False))
            return Vectors(said["identifier"], DTYPES[said["data_type"]], int(said["dim"]))
    raise SystemExit(f"{index} has no vectors.")


def search(
    client: redis.Redis, index: str, vector: np.ndarray, k: int = 10, where: str = "*"
) -> list[tuple[str, float]]:
    """Returns the file paths and distances of the k nearest documents that pass a filter.

    Args:
        client: a client of the server, in RESP2
        index: the index's name
        vector: ``dim`` numbers
        k: how many
        where: a filter in the query language, ``"*"`` for all
    """
    vectors = vectors_of(client, index)
    query = (
        Query(f"({where})=>[KNN {k} @{vectors.field} $vector AS distance]")
        .return_fields("filepath", "distance")
        .sort_by("distance")
        .paging(0, k)
        .dialect(2)
    )
    blob = np.asarray(vector).reshape(vectors.dim).astype(vectors.dtype).tobytes()
    found = client.ft(index).search(query, query_params={"vector": blob})
    return [(hit.filepath, float(hit.distance)) for hit in found.docs]


def main() -> None:
    """Reads the command line, searches, and prints one line for each result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index")
    parser.add_argument("query", help="a vector in a .npy file")
    parser.add_argument("--filter", default="*", metavar="QUERY")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--url", default="redis://localhost:6379")
    given = parser.parse_args()

    client = redis.Redis.from_url(given.url, protocol=2)
    for path, distance in search(client, given.index, np.load(given.query), given.k, given.filter):
        print(f"{distance:.6f}  {path}")


if __name__ == "__main__":
    main()
