"""Reads of an index that is gone, or was made again by others: an error, or the new index."""

import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import IndexNotFoundError

DIM, COUNT = 4, 3000
IDS = [f"{row:05}" for row in range(COUNT)]


def tell_tags(ids):
    return {"tag": ["odd"] * len(ids)}


def read_tag(index):
    return index.ids_with_tag("tag", ["even"])


READS = {
    "fetch": lambda index: index.fetch(IDS[:5]),
    "fetch one": lambda index: index.fetch(IDS[:1]),
    "fetch all": lambda index: index.fetch(),
    "ids": lambda index: index.ids(),
    "walk_ids": lambda index: list(index.walk_ids()),
    "existing": lambda index: index.existing(IDS[:5]),
    "remove": lambda index: index.remove(IDS[:5]),
    "some_ids": lambda index: index.some_ids(),
    "ids_with_tag": read_tag,
    "tags": lambda index: index.tags(IDS[:5]),
    "vectors": lambda index: list(index.vectors()),
    "some vectors": lambda index: list(index.vectors(IDS[:5])),
    "search": lambda index: index.search(np.ones((1, DIM)), 3),
    "search within": lambda index: index.search(np.ones((1, DIM)), 3, within=IDS[:9]),
    "search within nothing": lambda index: index.search(np.ones((1, DIM)), 3, within=[]),
    "search farthest": lambda index: index.search(np.ones((1, DIM)), 3, farthest=True),
    "search many": lambda index: index.search(np.ones((40, DIM)), 3),
    "search_ids": lambda index: index.search_ids(IDS[:2], 3),
    "update_attributes": lambda index: index.update_attributes(IDS[:5], tell_tags),
    "update nothing": lambda index: index.update_attributes([], lambda ids: {}),
    "len": len,
    "info": lambda index: index.info(),
}
CHANGES = ("remove", "update_attributes", "len", "info")


def fill(client, vectors, metric: str = "euclidean") -> VectorIndex:
    index = VectorIndex.create(client, Schema("docs", DIM, tags=("tag",), metric=metric))
    index.add(IDS, vectors(COUNT), {"tag": [("even", "odd")[row % 2] for row in range(COUNT)]})
    return index


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("documents", [True, False])
def test_an_index_that_was_dropped_is_an_error(client, tagged, vectors, read, documents):
    index = tagged(12)
    index.search(np.ones((1, DIM)), 3)  # knows the index's size
    VectorIndex.open(client, "tagged").drop(documents=documents)
    with pytest.raises(IndexNotFoundError, match="does not exist"):
        read(index)


def test_a_server_that_restarted_empty_is_an_error(own_server, vectors):
    server = own_server()
    with connect(f"redis://127.0.0.1:{server.port}") as client:
        index = fill(client, vectors)
        server.kill()
        server.start()
        for read in READS.values():
            with pytest.raises(IndexNotFoundError, match="does not exist"):
                read(index)


def test_a_server_that_restarts_empty_between_two_pages_is_an_error(own_server, monkeypatch):
    server = own_server()
    with connect(f"redis://127.0.0.1:{server.port}") as client:
        index = VectorIndex.create(client, Schema("docs", 64))
        ids = [f"{row}" for row in range(12_000)]
        index.add(ids, np.ones((12_000, 64), np.float32))
        pages = index.vectors()
        next(pages)
        server.kill()
        server.start()
        with pytest.raises(IndexNotFoundError):
            list(pages)


@pytest.mark.parametrize("name", [n for n in READS if n not in CHANGES])
def test_an_index_that_others_made_again_is_read_as_it_is_now(client, vectors, name):
    index = fill(client, vectors)
    other = VectorIndex.open(client, "docs")
    other.drop()
    new = fill(client, lambda count: -vectors(count), metric="cosine")
    for by_old, by_new in zip(plain(READS[name](index)), plain(READS[name](new)), strict=True):
        assert np.array_equal(by_old, by_new)


def plain(answer) -> list[object]:
    """Returns what an answer consists of."""
    if isinstance(answer, list) and answer and not isinstance(answer[0], str):
        return [part for each in answer for part in plain(each)]
    if hasattr(answer, "distances"):
        return [answer.ids, answer.distances]
    if hasattr(answer, "vectors"):
        return [answer.ids, answer.vectors, answer.tags["tag"]]
    return [sorted(answer) if isinstance(answer, (set, list)) else answer]
