"""The servers of a Redis Cluster, which can be killed and moved about, and documents on them."""

import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import pytest
import redis

from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.connection.topology import SLOTS
from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.server.program import build_command, build_environment

DIM = 4
SCHEMA = Schema("docs", DIM)
NODE_TIMEOUT_MS = 700
READY_SECONDS = 20


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
