"""Writes to an index that others change, drop or lose: right, or an error that says so."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cutter import Cutter

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.lifecycle import adding
from fiftyone_redis.errors import (
    ConnectionFailedError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
)

DIM = 4


def ids_of(count: int) -> list[str]:
    return [f"{row:05}" for row in range(count)]


def make_again(client, dim: int = DIM, **settings) -> VectorIndex:
    VectorIndex.open(client, "docs").drop()
    return VectorIndex.create(client, Schema("docs", dim, **settings))


def test_an_index_of_another_dimension_refuses_the_vectors(client, index, vectors):
    new = make_again(client, 2 * DIM)
    with pytest.raises(InputError, match="dimension 4, but the index has dimension 8"):
        index.add(ids_of(1000), vectors(1000))
    assert (len(new), client.dbsize()) == (0, 0)
    index.add(ids_of(10), vectors(10, 2 * DIM))
    assert len(new) == 10


@pytest.mark.parametrize("settings", [{"dtype": "float64"}, {"metric": "dotproduct"}])
def test_an_index_of_another_kind_gets_the_vectors_in_its_own_form(
    client, index, vectors, settings
):
    index.add(ids_of(10), vectors(10))
    new = make_again(client, **settings)
    index.add(ids_of(10), vectors(10))
    assert len(new) == len(index) == 10
    assert np.array_equal(new.fetch(ids_of(10)).vectors, vectors(10))


def test_what_another_handles_float16_cannot_hold_is_refused(client, index, vectors):
    index.add(ids_of(10), vectors(10))
    VectorIndex.open(client, "docs").rebuild(dtype="float16")
    with pytest.raises(InputError, match="00001"):
        index.add(ids_of(2), np.array([[1.0] * DIM, [1e5] * DIM]))
    assert np.allclose(index.fetch().vectors, vectors(10), atol=1e-2)


def test_zeros_are_refused_after_another_handles_rebuild_to_cosine(client, index, vectors):
    index.add(ids_of(10), vectors(10))
    VectorIndex.open(client, "docs").rebuild(metric="cosine")
    with pytest.raises(InputError, match="00000"):
        index.add(ids_of(1), np.zeros((1, DIM)))
    assert np.array_equal(index.fetch().vectors, vectors(10))


class Meddling:
    """Has something else happen once, in the middle of an add()."""

    def __init__(self, happen) -> None:
        self._happen = happen

    def __call__(self, _: int) -> None:
        happen, self._happen = self._happen, lambda: None
        happen()


def test_a_write_that_meets_half_converted_documents_is_repeated_on_the_new_index(client, vectors):
    fields = f"VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"
    own = f"ON JSON PREFIX 1 docs: SCHEMA $.foid AS foid TAG $.vector AS vector {fields}"
    client.execute_command("FT.CREATE", "docs", *own.split())
    index = VectorIndex.open(client, "docs")
    index.add(ids_of(10), vectors(10))

    def convert() -> None:
        VectorIndex.open(client, "docs").rebuild(storage="HASH")
        client.execute_command("JSON.SET", "docs:00003", "$", "{}")  # as if not yet deleted

    meddle = Meddling(convert)

    def overwrite(documents) -> int:
        meddle(0)
        return sum(documents.write(ids_of(10), 2 * vectors(10), {}))

    assert index.definition.write(overwrite) == 10
    assert index.schema.storage == "HASH"
    assert np.array_equal(index.fetch(ids_of(10)).vectors, 2 * vectors(10))


def test_an_index_dropped_in_the_middle_of_an_add_is_an_error(client, index, vectors):
    other = VectorIndex.open(client, "docs")
    with pytest.raises(IndexNotFoundError, match="up to 9,000 documents stayed behind"):
        index.add(ids_of(9000), vectors(9000), progress=Meddling(other.drop))
    VectorIndex.remove_leftovers(client, "docs")
    assert client.dbsize() == 0


def test_the_documents_of_an_index_dropped_in_the_middle_are_taken_over(client, index, vectors):
    other = VectorIndex.open(client, "docs")
    with pytest.raises(IndexNotFoundError, match="Create the index again, which takes them over"):
        index.add(ids_of(9000), vectors(9000), progress=Meddling(other.drop))
    new = VectorIndex.create(client, Schema("docs", DIM, metric="euclidean"))
    new.add(ids_of(9000), vectors(9000))
    assert np.array_equal(new.fetch(ids_of(9000)).vectors, vectors(9000))
    new.drop()
    assert client.dbsize() == 0


def test_an_index_made_again_in_the_middle_of_an_add_has_all_vectors(client, index, vectors):
    happen = Meddling(lambda: make_again(client, metric="cosine"))
    index.add(ids_of(9000), vectors(9000), progress=happen)
    assert np.array_equal(index.fetch(ids_of(9000)).vectors, vectors(9000))
    assert index.schema.metric == "cosine"


def test_an_index_made_again_between_two_parts_of_an_add_has_all_vectors(
    client, index, vectors, monkeypatch
):
    monkeypatch.setattr(adding, "_BYTES_AT_ONCE", 1000 * 4 * DIM)
    parts = []

    def make_again_after_the_second(count: int) -> None:
        parts.append(count)
        if len(parts) == 2:
            make_again(client)

    index.add(ids_of(3000), vectors(3000), progress=make_again_after_the_second)
    assert np.array_equal(index.fetch(ids_of(3000)).vectors, vectors(3000))


@pytest.mark.parametrize("settings", [{"dim": 2 * DIM}, {"metric": "cosine"}])
def test_what_an_index_made_again_refuses_is_not_left_in_it(client, index, vectors, settings):
    matrix = vectors(9000)
    matrix[7] = 0
    happen = Meddling(lambda: make_again(client, **settings))
    with pytest.raises(InputError, match=r"Another process changed the index .* are deleted again"):
        index.add(ids_of(9000), matrix, progress=happen)
    assert (index.ids(), client.dbsize()) == ([], 0)


def test_a_server_that_restarts_empty_in_the_middle_of_an_add_is_an_error(own_server, vectors):
    server = own_server()
    with connect(f"redis://127.0.0.1:{server.port}") as client:
        index = VectorIndex.create(client, Schema("docs", DIM))

        def restart() -> None:
            server.kill()
            server.start()

        with pytest.raises(IndexNotFoundError, match="stayed behind without an index"):
            index.add(ids_of(20_000), vectors(20_000), progress=Meddling(restart))
        VectorIndex.create(client, Schema("docs", DIM)).add(ids_of(20_000), vectors(20_000))
        assert np.array_equal(index.fetch(ids_of(20_000)).vectors, vectors(20_000))


@pytest.mark.parametrize("request_", [b"FT.CREATE", b"FT.ALIASADD"])
def test_a_lost_reply_while_an_index_is_made_does_no_harm(client, redis_server, vectors, request_):
    way = Cutter(redis_server.port)
    try:
        with connect(f"redis://127.0.0.1:{way.port}") as far:
            way.cut_reply_to(request_)
            index = VectorIndex.create(far, Schema("docs", DIM))
            assert way.is_done
            index.add(ids_of(10), vectors(10))
            assert index.ids() == ids_of(10)
            assert len(client.execute_command("FT._LIST")) == 1
    finally:
        way.close()


def test_a_lost_reply_does_not_make_anothers_index_ours(client, redis_server):
    VectorIndex.create(client, Schema("docs", DIM))
    way = Cutter(redis_server.port)
    try:
        with connect(f"redis://127.0.0.1:{way.port}") as far:
            way.cut_reply_to(b"FT._LIST")
            with pytest.raises(IndexMismatchError, match="exists already"):
                VectorIndex.create(far, Schema("docs", 2 * DIM))
    finally:
        way.close()
    assert VectorIndex.open(client, "docs").schema.dim == DIM


def test_a_rebuild_whose_decision_got_no_answer_is_not_undone(client, redis_server, vectors):
    """It took effect: to undo it would leave the alias without an index."""
    index = VectorIndex.create(client, Schema("docs", DIM, metric="euclidean"))
    index.add(ids_of(10), vectors(10))
    way = Cutter(redis_server.port)
    try:
        with connect(f"redis://127.0.0.1:{way.port}", retry_timeout=0) as far:
            own = VectorIndex.open(far, "docs")
            way.cut_reply_to(b'"switch": {')
            with pytest.raises(ConnectionFailedError):
                own.rebuild(dtype="float16")
    finally:
        way.close()
    index.add(ids_of(12)[10:], vectors(12)[10:])
    assert index.schema.dtype == "float16"
    assert np.allclose(index.fetch(ids_of(12)).vectors, vectors(12), atol=1e-2)
    index.rebuild(dtype="float32")
    assert {len(client.hkeys(key)) for key in client.scan_iter()} == {1}


def test_of_two_overlapping_prefixes_at_once_one_at_most_is_accepted(redis_server, client):
    prefixes = ["eu:", "eu:birds:"]
    accepted = []
    for attempt in range(40):
        both = threading.Barrier(2)

        def create(prefix: str, attempt=attempt, both=both) -> bool:
            with connect(redis_server.url) as own:
                both.wait()
                try:
                    name = f"{attempt}{prefix}"
                    VectorIndex.create(own, Schema(name, DIM, prefix=f"{attempt}{prefix}"))
                except IndexMismatchError:
                    return False
                return True

        with ThreadPoolExecutor(2) as pool:
            accepted.append(sum(pool.map(create, prefixes)))
        assert len(client.execute_command("FT._LIST")) == sum(accepted)
    assert max(accepted) == 1
