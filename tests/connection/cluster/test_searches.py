"""Indexes in a cluster: made, searched, rebuilt and dropped."""

import brute_force
import numpy as np
import pytest
from cluster_nodes import DIM, matrix_of, names
from waiting import repeat_meanwhile

from fiftyone_redis.connection.protocol.wire import to_text
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.errors import (
    UnsupportedServerError,
)


@pytest.mark.needs("no coordinator")
def test_a_cluster_whose_engine_has_no_coordinator_is_refused(nodes):
    with pytest.raises(UnsupportedServerError, match="would search one node's documents only"):
        connect(host="127.0.0.1", port=nodes[0].port)


def test_an_index_does_everything(searched, name):
    schema, count = Schema(name, DIM, tags=("tag",)), 500
    matrix = matrix_of(count)
    index = VectorIndex.create(searched, schema)
    index.add(names(count), matrix, {"tag": ["a", "b"] * (count // 2)})
    assert len(index) == count
    assert [hits.ids[0] for hits in index.search(matrix[:50], k=3)] == names(50)
    assert index.search(matrix[7:8], k=1, within=names(20))[0].ids == ["00007"]
    assert sorted(index.ids_with_tag("tag", ["a"])) == names(count)[::2]
    index.rebuild(algorithm="HNSW", dtype="float16")
    assert VectorIndex.open(searched, name).schema.algorithm == "HNSW"
    assert index.search(matrix[7:8], k=1)[0].ids == ["00007"]
    index.remove(names(10))
    assert len(index) == count - 10
    index.drop()
    assert not VectorIndex.exists(searched, name)


def test_the_name_of_an_index_of_others_is_taken_over_while_it_is_searched(searched, name):
    """A cluster cannot drop an index and make an alias of its name in one step."""
    count, matrix = 500, matrix_of(500)
    vector = f"vector VECTOR FLAT 6 TYPE FLOAT32 DIM {DIM} DISTANCE_METRIC COSINE"
    definition = f"FT.CREATE {name} PREFIX 1 {name}: SCHEMA {vector}"
    searched.execute(*definition.split())
    index = VectorIndex.open(searched, name)
    index.add(names(count), matrix)
    other = VectorIndex.open(searched, name)
    with repeat_meanwhile(lambda: other.search(matrix[7:8], k=1)[0].ids) as answers:
        for changes in ({"dtype": "float16"}, {"algorithm": "HNSW"}):
            index.rebuild(**changes)
    assert answers
    assert all(ids == ["00007"] for ids in answers)
    nodes = searched.list_primaries()
    listed = {to_text(each) for node in nodes for each in node.execute_command("FT._LIST")}
    assert listed == {index.schema.server_name}


def test_the_nearest_of_all_nodes_are_found_in_order(searched, name):
    matrix = matrix_of(1000)
    index = VectorIndex.create(searched, Schema(name, DIM, metric="euclidean"))
    index.add(names(1000), matrix)
    for query in matrix[:5]:
        [found] = index.search(query[np.newaxis], k=100)
        expected = brute_force.nearest("euclidean", query, matrix)[:100]
        assert found.ids == [names(1000)[row] for row in expected]


def test_a_cursor_is_read_on_at_the_node_that_opened_it(searched, name):
    schema, count = Schema(name, DIM, tags=("tag",)), 25_000
    index = VectorIndex.create(searched, schema)
    index.add(names(count), matrix_of(count), {"tag": ["a"] * count})
    assert sorted(index.ids_with_tag("tag", ["a"])) == names(count)
