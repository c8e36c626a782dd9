"""Searches within a subset: by key or wider, and how large one is whose size is not known."""

from dataclasses import replace

import brute_force
import numpy as np
import pytest

from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.documents import reading
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.options import METRICS
from fiftyone_redis.engine.search import planner
from fiftyone_redis.engine.search.planner import MembershipCost
from fiftyone_redis.engine.search.subset_search import IndexQueries, _estimate_shares

COUNT, DIM = 300, 6
IDS = [f"{row:024x}" for row in range(COUNT)]

# How the ids are filtered by, if they are, and the field that holds them, if any.
WAYS = {"by key": (True, None), "by id": (True, "own"), "wider": (False, None)}


@pytest.fixture
def matrix():
    return np.random.default_rng(51).normal(size=(COUNT, DIM)).astype(np.float32)


@pytest.fixture
def made(client, matrix, monkeypatch):
    """Makes indexes of documents with a tag that holds their ids, to be searched in one way."""

    def made(way: str, **settings) -> VectorIndex:
        filtered, id_field = WAYS[way]
        monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *_: filtered)
        schema = Schema("made", DIM, tags=("own",), id_field=id_field, **settings)
        index = VectorIndex.create(client, schema)
        index.add(IDS, matrix, {"own": IDS})
        return index

    return made


class Watched:
    """A subset of certain ids that notes how many documents it was asked about."""

    cost, count = MembershipCost(), None

    def __init__(self, ids: set[str]) -> None:
        self.asked: list[int] = []
        self._ids = ids

    def ids(self) -> list[str]:
        return sorted(self._ids)

    def find_members(self, hits: list[Hit]) -> set[str]:
        self.asked.append(len(hits))
        return {hit.id for hit in hits} & self._ids


@pytest.mark.parametrize(
    ("members", "asked", "share"),
    [(0, [64], 1 / 66), (2, [64, 192], 3 / 258), (40, [64], 41 / 66)],
    ids=["none is in it", "few are in it", "many are in it"],
)
def test_more_documents_are_looked_at_only_where_few_tell_little(members, asked, share):
    drawn = [Hit(f"k:{row}", 0.0, id=str(row)) for row in range(256)]
    subset = Watched({str(row) for row in range(members)})
    index = IndexQueries(Schema("any", 4), 50_000, None, lambda: drawn, None, None)
    assert _estimate_shares(index, subset)[0] == pytest.approx(share)
    assert subset.asked == asked


def test_a_sample_is_drawn_by_chance_and_not_from_the_beginning(client, vectors):
    index = VectorIndex.create(client, Schema("docs", 4))
    index.add([f"{row:05}" for row in range(5000)], vectors(5000))
    ids = [hit.id for hit in reading.sample_documents(Documents(client, index.schema))]
    assert len(ids) == 256
    assert 1500 < sum(int(id) for id in ids[:64]) / 64 < 3500
    assert Documents(client, index.schema).draw_keys(1000) != sorted(ids)


def test_what_others_added_meanwhile_is_found(client, vectors, monkeypatch):
    monkeypatch.setattr(planner, "is_prefilter_cheaper", lambda *_: False)
    ids, matrix = [f"{row:03}" for row in range(550)], vectors(550)
    index = VectorIndex.create(client, Schema("docs", 4))
    index.add(ids[:50], matrix[:50])
    subset = Watched(set(ids[40:60]))
    assert len(index.search(matrix[:1], 20, within=subset)[0].ids) == 10

    VectorIndex(client, index.schema).add(ids[50:], matrix[50:])
    assert sorted(index.search(matrix[:1], 20, within=subset)[0].ids) == ids[40:60]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("farthest", [False, True])
@pytest.mark.parametrize("count", [3, 90, 290])
@pytest.mark.parametrize("way", WAYS)
def test_all_ways_find_what_brute_force_finds(made, matrix, way, count, farthest, metric):
    index = made(way, metric=metric)
    allowed = np.random.default_rng(7).permutation(COUNT)[:count]

    found = index.search(matrix[:2], 10, within=[IDS[row] for row in allowed], farthest=farthest)

    for query, neighbors in zip(matrix[:2], found, strict=True):
        true = brute_force.distances(metric, query, matrix[allowed])
        order = np.argsort(-true if farthest else true)[:10]
        assert neighbors.ids == [IDS[row] for row in allowed[order]]
        assert neighbors.distances == pytest.approx(true[order], abs=1e-5)
        assert neighbors.tags["own"] == neighbors.ids


@pytest.mark.parametrize("way", WAYS)
def test_each_way_asks_the_server_for_what_it_is_called(made, client, matrix, way):
    index = made(way)
    searches = searched(client, lambda: index.search(matrix[:1], 5, within=IDS[:20]))
    assert ["INKEYS 20 made:" in search for search in searches] == [way != "wider"]


@pytest.mark.parametrize("odd", ["A", "a,b", "x,a", " a"])
def test_ids_that_tags_do_not_tell_apart_are_told_apart(client, odd):
    """Tags as others make them: split at commas, without a difference of case."""
    vector = "vector VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2"
    definition = f"FT.CREATE odd PREFIX 1 odd: SCHEMA own TAG {vector}"
    client.execute_command(*definition.split())
    index = VectorIndex(client, replace(VectorIndex.open(client, "odd").schema, id_field="own"))
    index.add(["a", odd], [[1.0, 1.0], [0.0, 0.0]], {"own": ["a", odd]})
    assert index.search([[0.0, 0.0]], 1, within=["a"])[0].ids == ["a"]
    assert index.search([[0.0, 0.0]], 1, within=[odd])[0].ids == [odd]


def searched(client, ask) -> list[str]:
    """Returns the queries that the server is asked while something is done, as text."""
    with client.monitor() as monitor:
        ask()
        client.echo("end")
        commands = []
        for command in monitor.listen():
            if command["command"].startswith("ECHO"):
                return [text for text in commands if text.startswith("FT.SEARCH")]
            commands.append(command["command"])
    return []
