"""Two handles of one index, and a dictionary that says what it holds, through any calls at all."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError, InputError

DIM = 4
TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-4}

IDS = st.one_of(
    st.sampled_from(
        ["a", "b", "a b", " a", "a\n", "é", "e\u0301", "{a}", "a*", "\x01", "\x7f", "0"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
BAD_IDS = st.sampled_from(["", "a\0b", "\ud800", "\udfff!"])
VECTORS = st.lists(st.integers(1, 40), min_size=DIM, max_size=DIM).map(tuple)
HANDLES = st.sampled_from([0, 1])
SETTINGS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["float16", "float32", "float64"]),
        "metric": st.sampled_from(["cosine", "euclidean"]),
        "algorithm": st.sampled_from(["FLAT", "HNSW"]),
    }
)
CHANGES = st.one_of(
    st.fixed_dictionaries({"dtype": st.sampled_from(["float16", "float32", "float64"])}),
    st.fixed_dictionaries({"metric": st.sampled_from(["cosine", "euclidean"])}),
    st.fixed_dictionaries({"algorithm": st.sampled_from(["FLAT", "HNSW"])}),
)


class TwoHandles(RuleBasedStateMachine):
    """What two users of one index may do, and what they must then see."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.clients = [connect(url), connect(url)]
        self.model: dict[str, tuple[int, ...]] = {}
        self.is_there = True

    @initialize(wanted=SETTINGS)
    def create(self, wanted) -> None:
        for name in self.clients[0].execute_command("FT._LIST"):
            self.clients[0].execute_command("FT.DROPINDEX", name)
        self.clients[0].flushall()
        first = VectorIndex.create(self.clients[0], Schema("docs", DIM, **wanted))
        self.handles = [first, VectorIndex.open(self.clients[1], "docs")]
        self.settings = dict(wanted)

    def teardown(self) -> None:
        for client in self.clients:
            client.close()

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, added=st.dictionaries(IDS, VECTORS, min_size=1, max_size=8))
    def add(self, handle, added) -> None:
        self.handles[handle].add(list(added), list(added.values()))
        self.model |= added

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, bad=BAD_IDS, good=IDS, vector=VECTORS)
    def refuse_bad_ids(self, handle, bad, good, vector) -> None:
        with pytest.raises(InputError):
            self.handles[handle].add([good, bad], [vector, vector])

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, data=st.data())
    def remove(self, handle, data) -> None:
        ids = self._some_ids(data)
        assert self.handles[handle].remove(ids) == sum(id in self.model for id in ids)
        for id in ids:
            self.model.pop(id, None)

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, data=st.data())
    def fetch(self, handle, data) -> None:
        ids = self._some_ids(data)
        found = self.handles[handle].fetch(ids)
        assert found.ids == [id for id in ids if id in self.model]
        assert [tuple(v) for v in found.vectors] == [self.model[id] for id in found.ids]
        assert self.handles[handle].existing(ids) == set(found.ids)

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, query=VECTORS, k=st.integers(1, 12))
    def search(self, handle, query, k) -> None:
        [found] = self.handles[handle].search([query], k)
        self._check_neighbors(found, query, list(self.model), k)

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, query=VECTORS, k=st.integers(1, 12), data=st.data())
    def search_within(self, handle, query, k, data) -> None:
        ids = self._some_ids(data)
        [found] = self.handles[handle].search([query], k, within=ids)
        self._check_neighbors(found, query, [id for id in ids if id in self.model], k)

    @precondition(lambda self: self.is_there and self.model)
    @rule(handle=HANDLES, data=st.data())
    def search_own(self, handle, data) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        [found] = self.handles[handle].search_ids([id], 3)
        self._check_neighbors(found, self.model[id], list(self.model), 3)

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, changes=CHANGES)
    def rebuild(self, handle, changes) -> None:
        self.handles[handle].rebuild(**changes)
        self.settings |= changes

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES, documents=st.booleans())
    def drop(self, handle, documents) -> None:
        self.handles[handle].drop(documents=documents)
        self.is_there = False
        if documents:
            self.model = {}
            assert self.clients[0].keys() == []

    @precondition(lambda self: not self.is_there)
    @rule(handle=HANDLES, data=st.data())
    def find_it_gone(self, handle, data) -> None:
        ids = self._some_ids(data)
        index = self.handles[handle]
        for use in (
            lambda: index.fetch(ids),
            lambda: index.remove(ids),
            lambda: index.search([[1] * DIM], 1, within=ids),
            lambda: index.add(["a"], [[1] * DIM]),
            index.ids,
        ):
            with pytest.raises(IndexNotFoundError):
                use()

    @precondition(lambda self: not self.is_there)
    @rule(handle=HANDLES, wanted=SETTINGS)
    def create_again(self, handle, wanted) -> None:
        """The documents that a drop has left, if any, are those of the new index."""
        if self.model and wanted["dtype"] != self.settings["dtype"]:
            wanted = {**wanted, "dtype": self.settings["dtype"]}
        self.handles[handle] = VectorIndex.create(
            self.clients[handle], Schema("docs", DIM, **wanted)
        )
        self.settings, self.is_there = dict(wanted), True

    @precondition(lambda self: self.is_there)
    @rule(handle=HANDLES)
    def refuse_a_second_one(self, handle) -> None:
        with pytest.raises(IndexMismatchError):
            VectorIndex.create(self.clients[handle], Schema("docs", DIM))

    @invariant()
    def hold_the_same(self) -> None:
        if not self.is_there:
            return
        for index in self.handles:
            assert index.ids() == sorted(self.model)
            assert len(index) == len(self.model)
        assert self.clients[0].dbsize() == len(self.model)

    def _some_ids(self, data) -> list[str]:
        known = sorted(self.model)
        either = st.one_of(st.sampled_from(known), IDS) if known else IDS
        return data.draw(st.lists(either, unique=True, max_size=8))

    def _check_neighbors(self, found, query, candidates: list[str], k: int) -> None:
        tolerance = TOLERANCE[self.settings["dtype"]] * (
            60 if self.settings["metric"] == "euclidean" else 1
        )
        distances = {id: self._distance(query, self.model[id]) for id in candidates}
        nearest = sorted(distances.values())[:k]
        assert len(found.ids) == len(set(found.ids)) == len(nearest)
        assert np.allclose(found.distances, nearest, atol=tolerance)
        own = [distances[id] for id in found.ids]
        assert np.allclose(found.distances, own, atol=tolerance)

    def _distance(self, one, other) -> float:
        one, other = np.array(one, float), np.array(other, float)
        if self.settings["metric"] == "euclidean":
            return float(np.linalg.norm(one - other))
        return float(1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def run(url: str, examples: int, steps: int, derandomize: bool) -> None:
    run_state_machine_as_test(
        lambda: TwoHandles(url),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_handles_see_what_was_done_through_either(client, redis_server):
    run(redis_server.url, examples=40, steps=20, derandomize=True)


@pytest.mark.slow
def test_two_handles_see_it_through_any_calls_at_all(client, redis_server):
    run(redis_server.url, examples=120, steps=50, derandomize=False)
