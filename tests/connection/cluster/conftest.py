"""A Redis Cluster: three primaries and three replicas of the server at hand, with real failovers.

The tests of searches run on the cluster that `FIFTYONE_REDIS_TEST_CLUSTER` names, as host:port of a
node, or else on these nodes, too. Where the query engine has a coordinator, as in Redis 8, they
search across the nodes. Redis Stack has none: there the index's name has a hash tag, which keeps
the index, and all of its documents, on one node.
"""

import os

import pytest
from cluster_nodes import (
    Node,
    Nodes,
    empty,
    join,
)
from ports import find_unused_port
from server_under_test import describe

from fiftyone_redis import server
from fiftyone_redis.connection.cluster import cluster_client
from fiftyone_redis.engine import connect
from fiftyone_redis.engine.documents import documents
from fiftyone_redis.server.program import Program


@pytest.fixture(scope="session")
def running_nodes(tmp_path_factory):
    """Three primaries, each with a replica, that form a cluster."""
    folder = tmp_path_factory.mktemp("cluster")
    found = server.find_program()
    program = Program(found.executable, found.modules[:1], found.libraries)
    nodes = Nodes()
    try:
        for _ in range(6):
            nodes.append(Node(program, folder, find_unused_port(), find_unused_port()))
        join(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
def nodes(running_nodes):
    """The servers of a cluster that is well and holds nothing."""
    running_nodes.heal()
    empty(running_nodes.primaries())
    return running_nodes


@pytest.fixture(scope="session")
def server_under_test(running_nodes):
    """What these nodes are."""
    with running_nodes[0].client() as seed, cluster_client.connect_cluster(seed) as client:
        return describe(client)


@pytest.fixture
def client(nodes):
    """A client of that cluster, as `connect()` makes it where the cluster can search."""
    with nodes[0].client() as seed, cluster_client.connect_cluster(seed) as client:
        yield client


@pytest.fixture(scope="session")
def named_cluster():
    """Where a cluster is that already runs, if one is named and its data may be deleted."""
    named = os.environ.get("FIFTYONE_REDIS_TEST_CLUSTER")
    if not named:
        return None
    host, _, port = named.rpartition(":")
    where = {"host": host, "port": int(port)}
    with connect(**where) as client:
        for node in client.list_primaries():
            if node.dbsize() or node.execute_command("FT._LIST"):
                pytest.exit(f"The tests delete everything; the cluster at {named} is not empty.", 2)
    return where


@pytest.fixture
def searched(request, named_cluster):
    """A client of an empty cluster to search: the one that is named, or that of these nodes."""
    if named_cluster is None:
        yield request.getfixturevalue("client")
        return
    with connect(**named_cluster) as client:
        empty([node.execute_command for node in client.list_primaries()])
        yield client
        empty([node.execute_command for node in client.list_primaries()])


@pytest.fixture
def name(searched):
    """The name of an index that answers for all of its documents."""
    return "birds" if searched.get_capabilities().coordinator else "{birds}"


@pytest.fixture
def batches_of_500(monkeypatch):
    """Makes batches so small that there are many."""
    monkeypatch.setattr(documents, "_BATCH_ROWS", 500)
