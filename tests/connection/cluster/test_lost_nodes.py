"""Nodes of a cluster that are killed or fail over, in the middle of something."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster_nodes import DIM, READY_SECONDS, SCHEMA, blobs, matrix_of, names, read, walk, write

from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    ConnectionFailedError,
)


def test_a_node_may_fail_over_in_the_middle_of_a_write(client, nodes, batches_of_500):
    ids, matrix = names(5000), matrix_of(5000)
    writing = Documents(client, SCHEMA).write(ids, matrix, {})
    written = next(writing)
    nodes.fail_over(nodes.primaries()[1])
    written += sum(writing)
    assert written == 5000
    assert read(client, ids) == (ids, blobs(matrix))


def test_a_primary_may_be_killed_in_the_middle_of_a_write(client, nodes, batches_of_500):
    ids, matrix = names(5000), matrix_of(5000)
    writing = Documents(client, SCHEMA).write(ids, matrix, {})
    written = next(writing)
    victim = nodes.primaries()[1]
    nodes.replicate(victim)
    victim.kill()
    written += sum(writing)
    assert written == 5000
    assert read(client, ids) == (ids, blobs(matrix))


def test_a_primary_may_be_killed_in_the_middle_of_a_read(client, nodes, batches_of_500):
    ids, matrix = write(client, 5000)
    victim = nodes.primaries()[2]
    nodes.replicate(victim)
    pages = Documents(client, SCHEMA).read(ids, ["vector"])
    batch, rows = next(pages)
    victim.kill()
    found = dict(zip(batch, rows, strict=True))
    for batch, rows in pages:
        found |= dict(zip(batch, rows, strict=True))
    assert list(found) == ids
    assert [row[0] for row in found.values()] == blobs(matrix)


def test_a_primary_may_be_killed_in_the_middle_of_a_walk(client, nodes, small_pages):
    ids, _ = write(client, 2000)
    victim = nodes.of(client.list_primaries()[1])
    nodes.replicate(victim)
    pages = Documents(client, SCHEMA).walk_ids()
    seen = list(next(pages))
    victim.kill()
    seen += [id for page in pages for id in page]
    assert sorted(seen) == ids


def test_a_node_that_is_lost_for_good_is_named(client, nodes):
    write(client, 1000)
    client.retry = RetryPolicy(4, READY_SECONDS)
    victim = nodes.primaries()[1]
    nodes.replica_of(victim).kill()
    victim.kill()
    for work in [
        lambda: write(client, 1000),
        lambda: read(client, names(1000)),
        lambda: walk(client),
    ]:
        with pytest.raises(ConnectionFailedError, match=f"127.0.0.1:{victim.port} does not answer"):
            work()


def test_commands_of_the_index_go_to_another_node_if_one_is_gone(client, nodes):
    nodes.of(client.pick_node()).kill()
    assert list(client.execute("FT._LIST")) == []


def test_threads_can_share_a_client_while_a_node_fails_over(client, nodes, batches_of_500):
    def work(thread):
        schema = Schema(f"docs{thread}", DIM)
        for _ in range(3):
            write(client, 2000, schema)
        return read(client, names(2000), schema)

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work, thread) for thread in range(4)]
        nodes.fail_over(nodes.primaries()[0])
        expected = (names(2000), blobs(matrix_of(2000)))
        assert all(result.result(READY_SECONDS) == expected for result in results)
