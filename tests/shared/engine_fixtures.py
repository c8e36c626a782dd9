"""An index to write to, and settings of the server that are put back after a test."""

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import redis
from playback import EMPTY, Playback, PlaybackCluster
from ports import find_unused_port
from redis.backoff import NoBackoff
from redis.retry import Retry
from server_under_test import set_search_limit
from waiting import wait_until

from fiftyone_redis import server
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.cluster import cluster_client as cluster_module
from fiftyone_redis.connection.cluster import complete_answers
from fiftyone_redis.connection.pool import WITHOUT_NOTIFICATIONS
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.documents import documents, scan
from fiftyone_redis.server.program import Program, build_command, build_environment

DIM = 4

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes")
"""Options of a server that has on disk what it acknowledged."""


@pytest.fixture
def schema():
    """An index of four dimensions, under a prefix of its own."""
    return Schema("docs", DIM, metric="euclidean")


@pytest.fixture
def index(client, schema):
    """The index on the server, empty."""
    return VectorIndex.create(client, schema)


@pytest.fixture
def vectors():
    """Makes as many different vectors as a test needs, of float32."""

    def vectors(count: int, dim: int = DIM) -> np.ndarray:
        return np.random.default_rng(51).normal(size=(count, dim)).astype(np.float32)

    return vectors


@pytest.fixture
def small_batches(monkeypatch):
    """Ten vectors of :data:`DIM` float32 are a batch."""
    monkeypatch.setattr(documents, "BATCH_BYTES", 10 * 4 * DIM)


@pytest.fixture
def small_pages(monkeypatch):
    """Ten keys are looked at for a page of a walk."""
    monkeypatch.setattr(scan, "_PAGE", 10)


@pytest.fixture
def filled(client):
    """Makes indexes of vectors whose ids are their rows."""

    def filled(matrix: np.ndarray, **settings) -> VectorIndex:
        index = VectorIndex.create(client, Schema("filled", matrix.shape[1], **settings))
        index.add([f"{row:05}" for row in range(len(matrix))], matrix)
        return index

    return filled


@pytest.fixture
def tagged(client, vectors):
    """Makes indexes of documents whose tags are "even" or "odd", and their own ids."""

    def tagged(count: int) -> VectorIndex:
        index = VectorIndex.create(client, Schema("tagged", DIM, tags=("tag", "own")))
        ids = [f"{row:05}" for row in range(count)]
        parities = [("even", "odd")[row % 2] for row in range(count)]
        index.add(ids, vectors(count), {"tag": parities, "own": ids})
        return index

    return tagged


@pytest.fixture
def full_server(client):
    """Leaves the server no memory to write to; a function gives it back early."""
    client.config_set("maxmemory", 1)
    yield lambda: client.config_set("maxmemory", 0)
    client.config_set("maxmemory", 0)


@pytest.fixture
def few_results(client):
    """How many results the server gives at most, which is less than usual."""
    usual = set_search_limit(client, "max-search-results", 20)
    yield 20
    set_search_limit(client, "max-search-results", usual)


@pytest.fixture(params=["return", "fail"])
def timeout_policy(client, request):
    """What the server does with a query that takes too long: half an answer, or an error."""
    usual = set_search_limit(client, "on-timeout", request.param)
    yield request.param
    set_search_limit(client, "on-timeout", usual)


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def speaker(client, redis_server, request):
    """A client of redis-py's own in one of the two protocols, for the empty server."""
    options = {"protocol": request.param, **WITHOUT_NOTIFICATIONS}
    speaker = Server.from_url(redis_server.url, **options)
    yield speaker
    speaker.close()


@pytest.fixture
def unused_port():
    """Finds a port on which nothing listens."""
    return find_unused_port


@pytest.fixture
def listening_port():
    """A port that can be connected to, where nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def lasting(own_server):
    """A server that has on disk what it acknowledged."""
    return own_server(*DURABLE)


@dataclass
class OwnServer:
    """A real server of one test's own, that can be killed and come back.

    Args:
        folder: where its data are
        port: its port
        options: the arguments of redis-server
        modules: whether it has the query engine; it always has, where that is built in
        tls: what a client of redis-py's needs to speak TLS with it
    """

    folder: Path
    port: int
    options: Sequence[str]
    modules: bool = True
    tls: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    def start(self, wait: bool = True) -> None:
        """Runs it, with the data that it had, and waits until it has loaded them."""
        found = server.find_program()
        program = found if self.modules else Program(found.executable, (), found.libraries)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*build_command(program, {}), *self.options],
                cwd=self.folder,
                env=build_environment(program, self.folder),
                stdout=log,
            )
        if wait:
            wait_until(self.answers)

    def connect(self, **parameters: object) -> Server:
        """Returns a client of this package."""
        return connect(host="127.0.0.1", port=self.port, **parameters)

    def answers(self) -> bool:
        """Returns whether it runs and has loaded its data."""
        with self.client() as client:
            try:
                client.ping()
            except redis.ResponseError:
                pass
            except redis.ConnectionError as error:
                return isinstance(error, redis.AuthenticationError)
            return True

    def client(self) -> redis.Redis:
        """Returns a client of redis-py's own that tries once."""
        retry = Retry(NoBackoff(), 0)
        tls = {**self.tls, "ssl": True, "ssl_check_hostname": False} if self.tls else {}
        return redis.Redis("127.0.0.1", self.port, protocol=2, retry=retry, **tls)

    def kill(self) -> None:
        """Ends it at once, as a machine that loses its power does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def own_server(tmp_path, unused_port):
    """Starts servers of a test's own; they end with it."""
    servers: list[OwnServer] = []

    def own_server(*options: str, **rest) -> OwnServer:
        port = unused_port()
        folder = tmp_path / f"redis-{port}"
        folder.mkdir()
        where = ("--tls-port", str(port), "--port", "0") if "tls" in rest else ("--port", str(port))
        options = (*where, "--bind", "127.0.0.1", "--save", "", *options)
        made = OwnServer(folder, port, options, **rest)
        servers.append(made)
        made.start()
        return made

    yield own_server
    for each in servers:
        each.kill()


RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(params=["8.6.8", "8.8.0"])
def played(request, monkeypatch):
    """The primaries of a recorded cluster that is well, of one of two query engines."""
    monkeypatch.setattr(complete_answers, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(cluster_module, "_PREFERRED", 0)
    recording = RECORDINGS / f"redis-8.8-search-{request.param}-cluster-of-3.json"
    with PlaybackCluster(recording) as played:
        # Documents were not counted while it was well.
        played.answer_unrecorded(lambda words: words[0] == "FT.AGGREGATE", EMPTY)
        yield played


@pytest.fixture
def cluster_client(played):
    """A client of that cluster, which is patient for a moment."""
    port = played.nodes[1].port
    with connect(host="127.0.0.1", port=port, retry_timeout=0.2) as client:
        yield client


@pytest.fixture
def asked(played, cluster_client) -> Playback:
    """The node that the client asks first."""
    port = cluster_client.pick_node().connection_pool.connection_kwargs["port"]
    return next(node for node in played.nodes if node.port == port)
