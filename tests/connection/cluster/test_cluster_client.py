"""A Redis Cluster: three primaries and three replicas of the server at hand, with real failovers.

The tests of searches run on the cluster that `FIFTYONE_REDIS_TEST_CLUSTER` names, as host:port of a
node, or else on these nodes, too. Where the query engine has a coordinator, as in Redis 8, they
search across the nodes. Redis Stack has none: there the index's name has a hash tag, which keeps
the index, and all of its documents, on one node.
"""

import os
import signal
import socket
import subprocess
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import brute_force
import numpy as np
import pytest
import redis
from server_under_test import describe
from waiting import repeat_meanwhile

from fiftyone_redis import server
from fiftyone_redis.connection import client as connecting
from fiftyone_redis.connection.cluster import cluster_client
from fiftyone_redis.connection.parameters import check_parameters
from fiftyone_redis.connection.protocol.wire import to_text
from fiftyone_redis.connection.retry import RetryPolicy, is_retryable
from fiftyone_redis.connection.topology import SLOTS
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.documents import documents, reading, scan
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ServerError,
    SettingsError,
    UnsupportedServerError,
)
from fiftyone_redis.server.program import Program, build_command, build_environment

DIM = 4
SCHEMA = Schema("docs", DIM)

NODE_TIMEOUT_MS = 700
READY_SECONDS = 20

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


class Node:
    """A server of the cluster, that can be killed and started again."""

    def __init__(self, program, folder, port, bus_port):
        self.port = port
        self._folder = folder / str(port)
        self._folder.mkdir()
        self._program = program
        self._options = {
            "port": str(port),
            "bind": "127.0.0.1",
            "save": "",
            "cluster-enabled": "yes",
            "cluster-port": str(bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "repl-diskless-sync-delay": "0",
        }
        self._client = self.client()
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            build_command(self._program, self._options),
            cwd=self._folder,
            env=build_environment(self._program, self._folder),
            stdout=subprocess.DEVNULL,
        )
        until(lambda: self("PING"))

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._client.close()

    def is_running(self):
        return self._process.poll() is None

    def __call__(self, *arguments):
        """Sends a command to this server, and no other."""
        return self._client.execute_command(*arguments)

    def client(self, **options):
        often = RetryPolicy(20, READY_SECONDS)
        return redis.Redis(
            "127.0.0.1", self.port, protocol=3, socket_timeout=10, retry=often, **options
        )

    def line(self):
        """Returns what CLUSTER NODES says of this server: id, address, flags, primary and so on."""
        lines = self("CLUSTER", "NODES").decode().splitlines()
        return next(line for line in lines if "myself" in line).split()

    @property
    def id(self):
        return self.line()[0]

    def is_primary(self):
        return "master" in self.line()[2]


def until(done):
    """Waits for something to be so."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(redis.RedisError):
            if done():
                return
        time.sleep(0.01)
    pytest.fail(f"It did not happen within {READY_SECONDS} seconds.")


class Nodes(list):
    """The servers of a cluster."""

    def primaries(self):
        return sorted((n for n in self if n.is_running() and n.is_primary()), key=lambda n: n.port)

    def replica_of(self, primary):
        return next(n for n in self if n.is_running() and n.line()[3] == primary.id)

    def of(self, client_node):
        """Returns the server of a client."""
        port = client_node.connection_pool.connection_kwargs["port"]
        return next(node for node in self if node.port == port)

    def heal(self):
        """Starts what was killed, and waits until all is as at first."""
        for node in self:
            if not node.is_running():
                node.start()
        until(self.are_well)

    def are_well(self):
        """Returns whether all nodes agree on the cluster, and their query engines, too."""
        primaries = [node.id for node in self.primaries()]
        followed = {node.line()[3] for node in self if not node.is_primary()}
        return (
            len(primaries) == 3
            and followed == set(primaries)
            and all(b"cluster_state:ok" in node("CLUSTER", "INFO") for node in self)
            and all(b"fail" not in node("CLUSTER", "NODES") for node in self)
            and all(parts_of_coordinator(node) in (None, 3) for node in self.primaries())
            and all(
                node("INFO", "replication")["master_link_status"] == "up"
                for node in self
                if not node.is_primary()
            )
        )

    def fail_over(self, primary):
        """Has the replica of a primary take its place, without losing anything."""
        replica = self.replica_of(primary)
        replica("CLUSTER", "FAILOVER")
        until(replica.is_primary)

    def replicate(self, primary):
        """Waits until a primary has nothing that its replica lacks."""

        def replicated():
            told = primary("INFO", "replication")
            return told["slave0"]["offset"] == told["master_repl_offset"]

        time.sleep(0.05)
        until(replicated)

    def open_slot(self, slot, source, target):
        target("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot, source, target):
        while keys := source("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            source("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)

    def close_slot(self, slot, target):
        for node in [target, *self.primaries()]:
            node("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def move_slot(self, slot, source, target):
        self.open_slot(slot, source, target)
        self.move_keys(slot, source, target)
        self.close_slot(slot, target)


def parts_of_coordinator(node):
    """Returns how many parts of the cluster a node's query engine knows; None if it asks none."""
    try:
        told = node("SEARCH.CLUSTERINFO")
    except redis.ResponseError as error:
        if "unknown command" in str(error):
            return None
        raise
    return told[b"num_partitions"] if isinstance(told, dict) else 0


@pytest.fixture(scope="session")
def running_nodes(tmp_path_factory):
    """Three primaries, each with a replica, that form a cluster."""
    folder = tmp_path_factory.mktemp("cluster")
    found = server.find_program()
    program = Program(found.executable, found.modules[:1], found.libraries)
    nodes = Nodes()
    try:
        for _ in range(6):
            nodes.append(Node(program, folder, free_port(), free_port()))
        join(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def join(nodes):
    primaries, replicas = nodes[:3], nodes[3:]
    for number, node in enumerate(nodes, start=1):
        node("CLUSTER", "SET-CONFIG-EPOCH", number)
        bus_port = nodes[0]._options["cluster-port"]
        node("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus_port)
    bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
    for node, start, end in zip(primaries, bounds, bounds[1:], strict=False):
        node("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
    until(lambda: all(len(node("CLUSTER", "NODES").splitlines()) == 6 for node in nodes))
    for node, primary in zip(replicas, primaries, strict=True):
        until(lambda node=node, primary=primary: node("CLUSTER", "REPLICATE", primary.id))
    until(nodes.are_well)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def nodes(running_nodes):
    """The servers of a cluster that is well and holds nothing."""
    running_nodes.heal()
    empty(running_nodes.primaries())
    return running_nodes


def empty(primaries):
    """Drops all indexes and deletes all documents; a primary is called with a command."""
    until(lambda: all(has_no_index(primary) for primary in primaries))
    for primary in primaries:
        primary("FLUSHALL")


def has_no_index(primary):
    """Drops the indexes of a primary, or of all of them where it has a coordinator."""
    for name in primary("FT._LIST"):
        primary("FT.DROPINDEX", name)
    return not primary("FT._LIST")


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
def small_batches(monkeypatch):
    """Makes batches so small that there are many."""
    monkeypatch.setattr(documents, "_BATCH_ROWS", 500)


def names(count):
    return [f"{row:05}" for row in range(count)]


def matrix_of(count, dim=DIM):
    return np.random.default_rng(51).normal(size=(count, dim)).astype(np.float32)


def write(client, count, schema=SCHEMA):
    ids, matrix = names(count), matrix_of(count)
    assert sum(Documents(client, schema).write(ids, matrix, {})) == count
    return ids, matrix


def read(client, ids, schema=SCHEMA):
    """Returns ids and blobs in the order in which they come."""
    pages = Documents(client, schema).read(ids, ["vector"])
    pairs = [(id, row[0]) for batch, rows in pages for id, row in zip(batch, rows, strict=True)]
    return [id for id, _ in pairs], [blob for _, blob in pairs]


def blobs(matrix):
    return [row.tobytes() for row in matrix]


def walk(client, schema=SCHEMA):
    return [id for page in Documents(client, schema).walk_ids() for id in page]


def test_documents_are_spread_over_the_nodes_and_read_back_in_order(client, nodes, small_batches):
    ids, matrix = write(client, 10_000)
    held = [node("DBSIZE") for node in nodes.primaries()]
    assert sum(held) == 10_000
    assert min(held) > 3000
    assert read(client, ids[::-1]) == (ids[::-1], blobs(matrix[::-1]))


@pytest.mark.filterwarnings("ignore:.*lib_name:DeprecationWarning")
def test_the_options_of_a_url_apply_to_every_node(nodes):
    url = f"redis://127.0.0.1:{nodes[0].port}?max_connections=3&client_name=anna&lib_name=photos"
    url += "&health_check_interval=9&retry_on_timeout=yes"
    seed = connecting._make_pool(check_parameters({"url": url}))
    with cluster_client.connect_cluster(redis.Redis.from_pool(seed)) as client:
        with client.open_decoding_client() as speaking:
            for each in (client, speaking):
                clients = each.list_primaries()
                assert len(clients) == 3
                for node in clients:
                    assert node.connection_pool.max_connections == 3
                    assert node.connection_pool.make_connection().health_check_interval == 9
                    assert node.client_getname() in (b"anna", "anna")
                    assert "photos" in str(node.client_info()) or redis.__version__ < "5.1"
            assert speaking.get("key") is None
        client.set("key", "value")
        assert client.get("key") == b"value"
    seed.disconnect()


def test_documents_are_found_walked_and_deleted_on_all_nodes(client, nodes, small_batches):
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
    with pytest.raises(ServerError, match=r"WRONGTYPE.* 1 documents: '00002'"):
        write(client, 100)


def test_connections_come_back(nodes):
    with nodes[0].client() as seed, cluster_client.connect_cluster(seed) as client:
        for node in client.list_primaries():
            node.connection_pool.max_connections = 1
        for _ in range(3):
            write(client, 100)
            next(Documents(client, SCHEMA).write(names(100), matrix_of(100), {}))
        assert len(read(client, names(100))[0]) == 100


def test_slots_may_move_in_the_middle_of_a_write(client, nodes, small_batches):
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


def test_keys_that_move_to_a_node_that_was_walked_are_found(client, nodes, monkeypatch):
    monkeypatch.setattr(scan, "_PAGE", 50)
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


def test_a_node_may_fail_over_in_the_middle_of_a_write(client, nodes, small_batches):
    ids, matrix = names(5000), matrix_of(5000)
    writing = Documents(client, SCHEMA).write(ids, matrix, {})
    written = next(writing)
    nodes.fail_over(nodes.primaries()[1])
    written += sum(writing)
    assert written == 5000
    assert read(client, ids) == (ids, blobs(matrix))


def test_a_primary_may_be_killed_in_the_middle_of_a_write(client, nodes, small_batches):
    ids, matrix = names(5000), matrix_of(5000)
    writing = Documents(client, SCHEMA).write(ids, matrix, {})
    written = next(writing)
    victim = nodes.primaries()[1]
    nodes.replicate(victim)
    victim.kill()
    written += sum(writing)
    assert written == 5000
    assert read(client, ids) == (ids, blobs(matrix))


def test_a_primary_may_be_killed_in_the_middle_of_a_read(client, nodes, small_batches):
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


def test_a_primary_may_be_killed_in_the_middle_of_a_walk(client, nodes, monkeypatch):
    monkeypatch.setattr(scan, "_PAGE", 50)
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


def test_the_memory_of_a_write_and_a_read_is_bounded(client, monkeypatch):
    monkeypatch.setattr(documents, "BATCH_BYTES", 1 << 17)
    count, dim = 10_000, 128
    schema, ids, matrix = Schema("docs", dim), names(count), matrix_of(count, dim)
    tracemalloc.start()
    for _ in Documents(client, schema).write(ids, matrix, {}):
        pass
    for _ in Documents(client, schema).read(ids, ["vector"]):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert matrix.nbytes > 5e6
    assert most < 1.5e6


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


def test_a_client_of_text_reaches_all_nodes(client):
    write(client, 100)
    with client.open_decoding_client() as speaking:
        assert isinstance(speaking, redis.RedisCluster)
        assert speaking.ping() is True
        assert sorted(speaking.scan_iter(match="docs:*")) == [f"docs:{id}" for id in names(100)]


def test_where_a_cluster_is_names_its_nodes(client, nodes):
    ports = [str(node.port) for node in nodes.primaries()]
    assert all(port in client.address for port in ports)


@pytest.fixture
def user_of_cluster(nodes):
    """Makes a user on all nodes, less some of its rights; returns a client of that user."""
    made = []

    def user_of_cluster(rights: str, without: str = "+nothing"):
        left = [right for right in rights.split() if right != without]
        for node in nodes:
            node("ACL", "SETUSER", "tester", "reset", "on", ">sEcr3t", "~docs:*", *left)
        seed = nodes[0].client(username="tester", password="sEcr3t")
        made.append(seed)
        made.append(cluster_client.connect_cluster(seed))
        return made[-1]

    yield user_of_cluster
    for client in made:
        client.close()
    for node in nodes:
        node("ACL", "DELUSER", "tester")


RIGHTS_OF_A_CLUSTER = "+command +cluster|slots"


def test_the_rights_to_find_the_nodes_are_enough_for_documents(user_of_cluster):
    client = user_of_cluster(f"+hset +hmget {RIGHTS_OF_A_CLUSTER}")
    ids, _ = write(client, 1000)
    assert read(client, ids)[0] == ids


@pytest.mark.parametrize("right", RIGHTS_OF_A_CLUSTER.split())
def test_every_right_to_find_the_nodes_is_needed(user_of_cluster, right):
    with pytest.raises(AuthenticationError, match="the user lacks a right"):
        write(user_of_cluster(f"+hset +hmget {RIGHTS_OF_A_CLUSTER}", right), 10)


def test_the_right_that_is_needed_while_a_slot_moves_is_named(user_of_cluster, client, nodes):
    first, second, _ = nodes.primaries()
    id = next(i for i in names(5000) if client.get_node_from_key(f"docs:{i}").port == first.port)
    slot = client.keyslot(f"docs:{id}")
    rights = f"+hset {RIGHTS_OF_A_CLUSTER} +asking"
    nodes.open_slot(slot, first, second)
    try:
        written = Documents(user_of_cluster(rights), SCHEMA).write([id], matrix_of(1), {})
        assert list(written) == [1]
        refused = user_of_cluster(rights, without="+asking")
        with pytest.raises(AuthenticationError, match="'asking' command"):
            list(Documents(refused, SCHEMA).write([id], matrix_of(1), {}))
    finally:
        nodes.close_slot(slot, second)


def test_threads_can_share_a_client_while_a_node_fails_over(client, nodes, small_batches):
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


def test_all_nodes_are_reached_as_the_same_user_of_few_rights(nodes):
    rights = [
        "+hset",
        "+hmget",
        "+scan",
        "+unlink",
        "+eval",
        "+hstrlen",
        "+cluster|slots",
        "+cluster|nodes",
    ]
    for node in nodes:
        node("ACL", "SETUSER", "tester", "reset", "on", ">sEcr3t", "~docs:*", *rights, "+command")
    with nodes[0].client(username="tester", password="sEcr3t") as seed:
        with cluster_client.connect_cluster(seed) as client:
            ids, matrix = write(client, 100)
            assert read(client, ids) == (ids, blobs(matrix))
            assert sorted(walk(client)) == ids
            assert len(Documents(client, SCHEMA).delete(ids)) == 100
            with pytest.raises(AuthenticationError, match="hexists"):
                Documents(client, SCHEMA).find_existing(ids)
        for node in nodes:
            node("ACL", "SETUSER", "tester", "-command")
        with pytest.raises(AuthenticationError, match="'command' command"):
            cluster_client.connect_cluster(seed)
        for node in nodes:
            node("ACL", "DELUSER", "tester")
        with pytest.raises(ConnectionFailedError, match="does not report the nodes") as caught:
            cluster_client.connect_cluster(seed)
    assert "sEcr3t" not in str(caught.value)


@pytest.mark.needs("tls")
@pytest.mark.parametrize("certified", ["IP:127.0.0.1", "DNS:elsewhere"])
def test_all_nodes_are_reached_over_tls(own_server, unused_port, tmp_path, certified):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node"),
            *("-addext", f"subjectAltName={certified}", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    options = ["--cluster-enabled", "yes", "--cluster-port", str(unused_port()), *tls]
    known = {"ssl": True, "ssl_ca_certs": certificate, "ssl_check_hostname": True}
    mine = {"ssl_certfile": certificate, "ssl_keyfile": key}
    node = own_server(
        *options, "--tls-cluster", "yes", modules=False, tls={"ssl_cert_reqs": "none", **mine}
    )
    often = RetryPolicy(20, READY_SECONDS)
    with redis.Redis("127.0.0.1", node.port, protocol=3, retry=often, **known, **mine) as seed:
        with pytest.raises(ConnectionFailedError, match="does not report the nodes"):
            cluster_client.connect_cluster(seed)
        with node.client() as own:
            own.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        if certified != "IP:127.0.0.1":
            with pytest.raises(ConnectionFailedError, match="CERTIFICATE_VERIFY_FAILED"):
                cluster_client.connect_cluster(seed)
            return
        with cluster_client.connect_cluster(seed) as client:
            ids, matrix = write(client, 100)
            assert read(client, ids) == (ids, blobs(matrix))


def test_connecting_to_one_node_leads_to_all(nodes, monkeypatch):
    def with_coordinator(found):  # which Redis Stack has not
        return replace(found, coordinator=True)

    monkeypatch.setattr(connecting, "check_server", with_coordinator)
    with connect(host="127.0.0.1", port=nodes[4].port, retries=7) as client:
        assert isinstance(client, redis.RedisCluster)
        assert client.retry_policy.count == 7
        write(client, 100)
    with connect(host="127.0.0.1", port=nodes[0].port, cluster=False) as alone:
        assert isinstance(alone, redis.Redis)


def test_a_server_that_is_no_cluster_is_not_taken_for_one(redis_server):
    with pytest.raises(SettingsError, match="is not a cluster node; leave cluster out"):
        connect(redis_server.url, cluster=True)


@pytest.mark.parametrize(
    "said",
    [
        "ERRCLUSTER Uninitialized cluster state, could not perform command",
        "Could not send query to cluster",
    ],
)
def test_what_a_coordinator_says_of_nodes_out_of_reach_is_tried_again(said):
    assert is_retryable(redis.ResponseError(said))
    assert not is_retryable(redis.ResponseError("No such index nope"))


def test_a_socket_does_not_lead_to_a_cluster(tmp_path):
    seed = redis.Redis(unix_socket_path=str(tmp_path / "none.sock"))
    with pytest.raises(UnsupportedServerError, match="set host and port"):
        cluster_client.connect_cluster(seed)
