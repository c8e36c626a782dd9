"""Searches within a subset whose size is not known: from a sample it is told how large it is."""

import pytest

from fiftyone_redis.engine import Schema, VectorIndex, documents, planner, reading
from fiftyone_redis.engine.planner import Learning
from fiftyone_redis.engine.replies import Hit
from fiftyone_redis.engine.restricted import Searcher, _shares


class Watched:
    """A subset of certain ids that notes how many documents it was asked about."""

    learning, count = Learning(), None

    def __init__(self, ids: set[str]) -> None:
        self.asked: list[int] = []
        self._ids = ids

    def ids(self) -> list[str]:
        return sorted(self._ids)

    def kept(self, hits: list[Hit]) -> set[str]:
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
    searcher = Searcher(Schema("any", 4), 50_000, None, "keys", lambda: drawn, None, None)
    assert _shares(searcher, subset)[0] == pytest.approx(share)
    assert subset.asked == asked


def test_a_sample_is_drawn_by_chance_and_not_from_the_beginning(client, vectors):
    index = VectorIndex.create(client, Schema("docs", 4))
    index.add([f"{row:05}" for row in range(5000)], vectors(5000))
    ids = [hit.id for hit in reading.sample(client, index.schema)]
    assert len(ids) == 256
    assert 1500 < sum(int(id) for id in ids[:64]) / 64 < 3500
    assert documents.draw(client, index.schema, 1000) != sorted(ids)


def test_what_others_added_meanwhile_is_found(client, vectors, monkeypatch):
    monkeypatch.setattr(planner, "filter_is_cheaper", lambda *_: False)
    ids, matrix = [f"{row:03}" for row in range(550)], vectors(550)
    index = VectorIndex.create(client, Schema("docs", 4))
    index.add(ids[:50], matrix[:50])
    subset = Watched(set(ids[40:60]))
    assert len(index.search(matrix[:1], 20, within=subset)[0].ids) == 10

    VectorIndex(client, index.schema).add(ids[50:], matrix[50:])
    assert sorted(index.search(matrix[:1], 20, within=subset)[0].ids) == ids[40:60]
