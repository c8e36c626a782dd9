"""Documents of a cluster: on the node of their slot, found while slots and keys move."""

import tracemalloc

import pytest
from cluster_nodes import DIM, SCHEMA, blobs, matrix_of, names, read, walk, write

from fiftyone_redis.connection.cluster import cluster_client
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.documents import documents, reading
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    ServerError,
)

SPECIAL = [
    "{a}",
    "{a}b",
    "a{b}c",
    "{}a",
    "a{}b{c}",
    "{",
    "}{",
    "a}b{c",
    "{{a}}",
    "{é}",
    "日{本}😀",
    " ",
]


def test_documents_are_spread_over_the_nodes_and_read_back_in_order(client, nodes, batches_of_500):
    ids, matrix = write(client, 10_000)
    held = [node("DBSIZE") for node in nodes.primaries()]
    assert sum(held) == 10_000
    assert min(held) > 3000
    assert read(client, ids[::-1]) == (ids[::-1], blobs(matrix[::-1]))


def test_documents_are_found_walked_and_deleted_on_all_nodes(client, nodes, batches_of_500):
    ids, _ = write(client, 10_000)
    assert Documents(client, SCHEMA).find_existing([*ids[:5000], "other"]) == set(ids[:5000])
    assert sorted(walk(client)) == ids
    assert Documents(client, SCHEMA).remove_field(ids[:300], "vector") == 300
    assert len(Documents(client, SCHEMA).delete([*ids, "other"])) == 9700  # 300 had nothing else
    assert [node("DBSIZE") for node in nodes.primaries()] == [0, 0, 0]


def test_other_documents_are_not_walked(client):
    write(client, 10)
    write(client, 10, Schema("docs2", DIM))
    assert sorted(walk(client)) == names(10)


def test_tags_are_written_and_read(client):
    schema = Schema("docs", DIM, tags=("tag",))
    tags = {"tag": [f"t{id}" for id in names(100)]}
    assert sum(Documents(client, schema).write(names(100), matrix_of(100), tags)) == 100
    assert reading.read_tags(Documents(client, schema), names(100)) == tags


def test_a_few_documents_are_drawn(client):
    assert Documents(client, SCHEMA).draw_keys(100) == []
    write(client, 1000)
    drawn = Documents(client, SCHEMA).draw_keys(100)
    assert drawn
    assert {key.removeprefix(SCHEMA.prefix) for key in drawn} < set(names(1000))


@pytest.mark.parametrize("index_name", ["docs", "{docs}", "do{cs", "日本"])
def test_ids_with_braces_and_of_all_scripts_go_to_the_node_of_their_slot(client, nodes, index_name):
    schema = Schema(index_name, DIM)
    documents_written = Documents(client, schema).write(SPECIAL, matrix_of(len(SPECIAL)), {})
    assert sum(documents_written) == len(SPECIAL)
    assert sorted(walk(client, schema)) == sorted(SPECIAL)
    for id in SPECIAL:
        key = (schema.prefix + id).encode()
        node = nodes.of(client.get_redis_connection(client.get_node_from_key(key)))
        assert node("EXISTS", key) == 1
    assert len(Documents(client, schema).delete(SPECIAL)) == len(SPECIAL)


def test_documents_that_a_node_refuses_are_named(client, nodes):
    client.set("docs:00002", "text")
    with pytest.raises(ServerError, match=r"WRONGTYPE.* 1 document: '00002'"):
        write(client, 100)


def test_connections_come_back(nodes):
    with nodes[0].client() as seed, cluster_client.connect_cluster(seed) as client:
        for node in client.list_primaries():
            node.connection_pool.max_connections = 1
        for _ in range(3):
            write(client, 100)
            next(Documents(client, SCHEMA).write(names(100), matrix_of(100), {}))
        assert len(read(client, names(100))[0]) == 100


def test_slots_may_move_in_the_middle_of_a_write(client, nodes, batches_of_500):
    first, second, _ = nodes.primaries()
    ids, matrix = names(5000), matrix_of(5000)
    writing = Documents(client, SCHEMA).write(ids, matrix, {})
    written = next(writing)
    moved = slots_of(first)[:40]
    for slot in moved:
        nodes.move_slot(slot, first, second)
    written += sum(writing)
    assert written == 5000
    assert read(client, ids) == (ids, blobs(matrix))
    for slot in moved:
        nodes.move_slot(slot, second, first)
    assert read(client, ids) == (ids, blobs(matrix))
    assert sorted(walk(client)) == ids


def test_a_slot_on_the_move_is_asked_for_on_both_nodes(client, nodes):
    first, second, _ = nodes.primaries()
    ids, matrix = write(client, 1000, tagged := Schema("{moving}", DIM))
    slot = client.keyslot("{moving}")
    source = nodes.of(client.get_redis_connection(client.get_node_from_key("{moving}")))
    target = first if source is not first else second
    nodes.open_slot(slot, source, target)
    some = source("CLUSTER", "GETKEYSINSLOT", slot, 500)
    source("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *some)

    assert read(client, ids, tagged) == (ids, blobs(matrix))
    assert sorted(walk(client, tagged)) == ids
    assert len(Documents(client, tagged).delete(ids[:100])) == 100
    write(client, 1000, tagged)
    assert read(client, ids, tagged) == (ids, blobs(matrix))

    nodes.move_keys(slot, source, target)
    nodes.close_slot(slot, target)
    assert read(client, ids, tagged) == (ids, blobs(matrix))
    nodes.move_slot(slot, target, source)


def test_keys_that_move_to_a_node_that_was_walked_are_found(client, nodes, small_pages):
    ids, _ = write(client, 2000)
    first, second, third = [nodes.of(node) for node in client.list_primaries()]
    held = {client.keyslot(f"docs:{id}") for id in ids}
    moved = [slot for slot in slots_of(third) if slot in held][:40]
    pages = Documents(client, SCHEMA).walk_ids()
    seen = list(next(pages))
    while len(seen) <= first("DBSIZE"):
        seen += next(pages)
    for slot in moved:
        nodes.move_slot(slot, third, first)
    seen += [id for page in pages for id in page]
    assert second("DBSIZE")
    assert sorted(seen) == ids
    for slot in moved:
        nodes.move_slot(slot, first, third)


def slots_of(node):
    ranges = [part.split("-") for part in node.line()[8:]]
    return [slot for part in ranges for slot in range(int(part[0]), int(part[-1]) + 1)]


def test_the_memory_of_a_write_and_a_read_is_bounded(client, monkeypatch):
    monkeypatch.setattr(documents, "BATCH_BYTES", 1 << 17)
    count, dim = 10_000, 512
    schema, ids, matrix = Schema("docs", dim), names(count), matrix_of(count, dim)
    tracemalloc.start()
    for _ in Documents(client, schema).write(ids, matrix, {}):
        pass
    for _ in Documents(client, schema).read(ids, ["vector"]):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    slot_maps = 3 * 1.2e6  # redis-py makes a new one whenever a slot has moved
    assert most < matrix.nbytes / 20 + slot_maps < matrix.nbytes / 4
