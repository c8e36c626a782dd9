"""Writing, reading, deleting and walking documents in bulk."""

import string
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.engine import Schema, VectorIndex
from fiftyone_redis.engine.documents import scan
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.vectors import encoding
from fiftyone_redis.errors import ServerError

ROWS = 10  # of small_batches
"""Documents in a batch, in the tests that make batches small."""

SPECIAL = [
    *string.punctuation,
    *(f"a{c}b" for c in string.punctuation),
    " ",
    " a  b ",
    "a\tb\r\nc\x00d",
    "a*b?[c-d]^\\",
    "a:b::c",
    "{a}",
    "日本 é e\u0301 😀",
    "0",
    "-1",
    "long " * 2000,
]


@pytest.fixture
def lone_client(client, redis_server):
    """A client that has one connection, and so notices if it does not come back."""
    lone = Server(port=redis_server.port, protocol=3, max_connections=1)
    yield lone
    lone.close()


def write(client, schema, ids, matrix, tags=None) -> list[int]:
    return list(Documents(client, schema).write(ids, matrix, tags or {}))


def read(client, schema, ids, fields=("vector",)) -> dict[str, list[bytes | None]]:
    return {
        id: row
        for batch, rows in Documents(client, schema).read(ids, fields)
        for id, row in zip(batch, rows, strict=True)
    }


class Watched:
    """A client that notes how many commands go to the server together."""

    def __init__(self, client) -> None:
        self.client, self.sizes = client, []

    def __getattr__(self, name: str):
        return getattr(self.client, name)

    def exchange(self, requests):
        for request in requests:
            self.sizes.append(len(request.items))
            yield from self.client.exchange([request])


def walk(client, schema) -> list[str]:
    """Returns the ids of all pages, each as often as it was given."""
    return sorted(id for page in Documents(client, schema).walk_ids() for id in page)


def names(count: int) -> list[str]:
    return [f"{row:05}" for row in range(count)]


@pytest.mark.parametrize("count", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 5 * ROWS + 1])
def test_batches_of_every_fill_are_written_read_and_deleted(
    client, schema, vectors, small_batches, count
):
    ids, matrix = names(count), vectors(count)

    written = write(client, schema, ids, matrix)
    held = read(client, schema, ids)

    assert sum(written) == count
    assert max(written, default=0) <= ROWS
    assert held == {id: [row.tobytes()] for id, row in zip(ids, matrix, strict=True)}
    assert Documents(client, schema).find_existing([*ids, "other"]) == set(ids)
    assert len(Documents(client, schema).delete([*ids, "other"])) == count
    assert client.dbsize() == 0


def test_batches_are_cut_by_the_size_of_the_vectors():
    large = Schema("i", 32_768, dtype="float64")
    assert [s.stop - s.start for s in Documents(None, large).batches(20)] == [8, 8, 4]
    assert next(Documents(None, Schema("i", 1)).batches(10_000)).stop < 10_000


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_server_holds_the_bytes_of_the_type(client, vectors, dtype):
    schema, matrix = Schema("docs", 4, dtype=dtype), vectors(3)
    write(client, schema, names(3), matrix)
    assert client.hgetall("docs:00001") == {b"vector": encoding.encode(matrix, dtype)[1].tobytes()}


def test_ids_of_any_characters_are_kept(client, schema, vectors):
    write(client, schema, SPECIAL, vectors(len(SPECIAL)))
    assert client.dbsize() == len(SPECIAL)
    assert Documents(client, schema).find_existing(SPECIAL) == set(SPECIAL)
    assert walk(client, schema) == sorted(SPECIAL)
    assert all(row[0] for row in read(client, schema, SPECIAL).values())
    assert len(Documents(client, schema).delete(SPECIAL)) == len(SPECIAL)


@pytest.mark.parametrize("name", ["a*", "a?b", "a[bc]", "a[^b]", "a\\", "a\\*", "*", "[", "日本"])
def test_only_the_documents_of_the_prefix_are_walked(client, vectors, name):
    schema = Schema(name, 4)
    for other in ["ab", "axb", "ac", "ax", "a", "abc", "x", "a\\x", "日"]:
        write(client, Schema(other, 4), ["1", "2"], vectors(2))
    write(client, schema, ["3"], vectors(1))
    assert walk(client, schema) == ["3"]


def test_many_documents_are_walked_in_pages(client, schema, vectors, small_pages):
    write(client, schema, names(500), vectors(500))
    assert len(list(Documents(client, schema).walk_ids())) > 1
    assert walk(client, schema) == names(500)


def test_documents_that_stay_are_walked_once_while_others_come_and_go(
    client, schema, vectors, small_pages
):
    ids, others = names(300), [f"other {row}" for row in range(5000)]
    write(client, schema, ids, vectors(300))
    pages = Documents(client, schema).walk_ids()
    seen = list(next(pages))
    write(client, schema, others, vectors(5000))
    seen += next(pages)
    Documents(client, schema).delete(others)
    seen += [id for page in pages for id in page]
    assert sorted(set(seen) - set(others)) == ids
    assert len(seen) == len(set(seen))


def test_tags_are_written_with_their_vectors(client, schema, vectors, small_batches):
    ids, matrix = names(9), vectors(9)
    tags = {"x": [f"x{id}" for id in ids], "日": ["", "a b", "é\r\n", *["."] * 6]}
    write(client, schema, ids, matrix, tags)
    assert read(client, schema, ids, ("x", "vector", "日", "none")) == {
        id: [x.encode(), row.tobytes(), y.encode(), None]
        for id, row, x, y in zip(ids, matrix, *tags.values(), strict=True)
    }


def test_documents_that_are_not_there_have_no_fields(client, schema):
    assert read(client, schema, ["none"], ("vector", "tag")) == {"none": [None, None]}


def test_a_second_write_replaces_the_first(client, schema, vectors):
    first, second = vectors(2)
    write(client, schema, ["a"], first[np.newaxis])
    write(client, schema, ["a"], second[np.newaxis])
    assert read(client, schema, ["a"]) == {"a": [second.tobytes()]}


def test_a_key_of_another_type_is_named_by_writes_and_missing_for_reads(
    lone_client, schema, vectors, small_batches
):
    lone_client.set("docs:00002", "text")
    lone_client.lpush("docs:00003", "text")

    with pytest.raises(ServerError, match=r"WRONGTYPE.* 2 documents: '00002', '00003'"):
        write(lone_client, schema, names(20), vectors(20))
    found = read(lone_client, schema, names(5))
    assert [id for id, [blob] in found.items() if blob is None] == ["00002", "00003"]

    assert lone_client.echo("still there") == b"still there"
    assert lone_client.get("docs:00002") == b"text"


def test_writing_again_after_a_refusal_completes_it(client, schema, vectors, small_batches):
    client.set("docs:00002", "text")
    with pytest.raises(ServerError):
        write(client, schema, names(20), vectors(20))
    client.delete("docs:00002")
    write(client, schema, names(20), vectors(20))
    assert Documents(client, schema).find_existing(names(20)) == set(names(20))


def test_an_abandoned_write_gives_its_connection_back(lone_client, schema, vectors, small_batches):
    writing = Documents(lone_client, schema).write(names(20), vectors(20), {})
    assert next(writing) == ROWS
    writing.close()
    assert lone_client.echo("still there") == b"still there"


def test_an_abandoned_read_leaves_no_replies_behind(lone_client, schema, vectors, small_batches):
    write(lone_client, schema, names(20), vectors(20))
    for _ in Documents(lone_client, schema).read(names(20), ("vector",)):
        break
    assert lone_client.echo("still there") == b"still there"
    assert len(read(lone_client, schema, names(20))) == 20


def test_a_walk_asks_for_the_next_page_ahead_and_can_be_left(
    lone_client, client, schema, vectors, monkeypatch
):
    monkeypatch.setattr(scan, "_PAGE", 10)
    write(client, schema, names(200), vectors(200))
    client.config_resetstat()
    pages = Documents(lone_client, schema).walk_ids()
    first = next(pages)
    deadline = time.monotonic() + 10
    while client.info("commandstats")["cmdstat_scan"]["calls"] < 2:
        assert time.monotonic() < deadline
    pages.close()
    assert lone_client.echo("still there") == b"still there"
    assert set(first) < set(walk(lone_client, schema)) == set(names(200))


def test_a_graph_loses_few_vectors_at_a_time_so_that_others_do_not_wait(client, vectors):
    watched, ids = Watched(client), names(20)
    for algorithm, together in (("FLAT", [20]), ("HNSW", [8, 8, 4])):
        schema = Schema(algorithm, vectors(1).shape[1], algorithm=algorithm)
        index = VectorIndex.create(client, schema)
        index.add(ids, vectors(20))
        watched.sizes.clear()
        assert Documents(watched, index.schema).delete([*ids]) == ids
        assert watched.sizes == together
        assert len(index) == 0


def test_many_threads_can_share_a_client(client, schema, small_batches):
    threads, count = 16, 5 * ROWS
    barrier = threading.Barrier(threads)

    def work(thread: int) -> bool:
        ids = [f"{thread}-{row}" for row in range(count)]
        matrix = np.full((count, schema.dim), thread, np.float32)
        blob = matrix[0].tobytes()
        barrier.wait(10)
        for _ in range(5):
            write(client, schema, ids, matrix)
            assert read(client, schema, ids) == {id: [blob] for id in ids}
            assert len(Documents(client, schema).delete(ids)) == count
        return True

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(threads)))
    assert client.dbsize() == 0


def test_a_full_server_is_no_success(lone_client, schema, vectors, small_batches, full_server):
    with pytest.raises(
        ServerError, match=r"maxmemory.* 10 documents: '00000', '00001', '00002' and"
    ):
        write(lone_client, schema, names(20), vectors(20))
    full_server()
    assert sum(write(lone_client, schema, names(20), vectors(20))) == 20


def test_a_full_server_says_what_to_do(client, schema, vectors, full_server):
    with pytest.raises(ServerError, match="memory is full; raise maxmemory or remove data"):
        write(client, schema, ["a"], vectors(1))


def test_a_key_that_is_no_text_is_a_document_too(client, schema, vectors):
    write(client, schema, ["a"], vectors(1))
    client.hset(b"docs:\xff", "vector", client.hget("docs:a", "vector"))
    odd, plain = sorted(walk(client, schema), reverse=True)
    assert plain == "a"
    assert (
        read(client, schema, [odd], ["vector"])[odd] == read(client, schema, ["a"], ["vector"])["a"]
    )
