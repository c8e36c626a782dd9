"""The real parts that the tests run on: a private Redis, and FiftyOne with a MongoDB of its own.

`FIFTYONE_REDIS_SERVER_PROGRAM` names the redis-server that the tests start, everywhere.
`FIFTYONE_REDIS_TEST_URL` names one on this machine that already runs, and is used wherever a test
does not need a server of its own; `FIFTYONE_REDIS_TEST_CLUSTER` a node, as host:port, of a cluster
that already runs, for the tests of a cluster's searches. Both are emptied, again and again.

FiftyOne reads its settings while it is imported, so its home is set up before anything else. Its
database is started here, because FiftyOne by itself would use that of any other FiftyOne that the
same user is running.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from ports import find_unused_port

_HOME = Path(tempfile.mkdtemp(prefix="fo-redis-"))


def start_mongod() -> str:
    """Starts FiftyOne's mongod on a free port, until the tests end, and returns its URI."""
    mongod = Path(find_spec("fiftyone").origin).parent / "db" / "bin" / "mongod"
    port = find_unused_port()
    folder = _HOME / "mongo"
    folder.mkdir()
    log = folder / "mongod.log"
    process = subprocess.Popen(
        [mongod, "--dbpath", folder, "--port", str(port), "--logpath", log, "--nounixsocket"],
        stdout=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.terminate)
    return f"mongodb://127.0.0.1:{port}"


atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
KEPT = (
    "FIFTYONE_REDIS_SERVER_PROGRAM",
    "FIFTYONE_REDIS_TEST_URL",
    "FIFTYONE_REDIS_TEST_CLUSTER",
)
for name in [name for name in os.environ if name.startswith("FIFTYONE_")]:
    if name not in KEPT:
        del os.environ[name]
os.environ.update(
    HOME=str(_HOME),
    FIFTYONE_DO_NOT_TRACK="1",
    FIFTYONE_SHOW_PROGRESS_BARS="false",
    FIFTYONE_DATABASE_URI=start_mongod(),
    FIFTYONE_BRAIN_CONFIG_PATH=str(_HOME / "brain_config.json"),
    FIFTYONE_REDIS_SERVER_DIR=str(_HOME / "redis"),
)

import pytest  # noqa: E402
import redis  # noqa: E402
from rewording import WORDINGS, Rewording  # noqa: E402
from server_under_test import ServerUnderTest, describe  # noqa: E402

import fiftyone_redis  # noqa: E402
from fiftyone_redis import server  # noqa: E402
from fiftyone_redis.engine import connect  # noqa: E402

pytest_plugins = ["engine_fixtures"]


def pytest_configure(config):
    if int(redis.__version__.split(".")[0]) < 6:
        # redis-py 5 forgets to close the socket when nobody listens at a path.
        for ignored in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
            config.addinivalue_line("filterwarnings", f"ignore::{ignored}")


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine on which nothing listens."""
    return find_unused_port()


@pytest.fixture(scope="session")
def redis_server():
    """A Redis on a port of this machine: a private one, with a socket, unless one is named."""
    folder = _HOME / "shared-redis"
    url = os.environ.get("FIFTYONE_REDIS_TEST_URL")
    if url:
        yield running_server(url, folder)
        return
    yield server.start(folder, port=find_unused_port())
    server.stop(folder)


def running_server(url: str, folder: Path) -> server.PrivateServer:
    """Returns a server that runs already, if its data may be deleted: there are none."""
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.hostname not in ("127.0.0.1", "localhost"):
        pytest.exit(f"FIFTYONE_REDIS_TEST_URL must be redis://127.0.0.1:<port>, not {url}.", 2)
    with connect(url) as client:
        if client.dbsize() or client.execute_command("FT._LIST"):
            pytest.exit(f"The tests delete everything, and the Redis at {url} is not empty.", 2)
        pid = int(client.info("server")["process_id"])
    return server.PrivateServer(url, folder, pid, parts.port or 6379)


@pytest.fixture(scope="session")
def server_under_test(redis_server) -> ServerUnderTest:
    """What the server is that the tests run on."""
    with connect(redis_server.url) as client:
        return describe(client)


@pytest.fixture(autouse=True)
def _needs(request) -> None:
    """Skips a test that needs what the server does not have."""
    for marker in request.node.iter_markers("needs"):
        for need in marker.args:
            if reason := request.getfixturevalue("server_under_test").lacks(need):
                pytest.skip(reason)


@pytest.fixture
def client(redis_server) -> redis.Redis:
    """A client of an empty server."""
    client = connect(redis_server.url)
    for name in client.execute_command("FT._LIST"):
        client.execute_command("FT.DROPINDEX", name)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(params=WORDINGS)
def reworded(client, redis_server, request):
    """A way to the empty server, over which it words its refusals as other versions do."""
    way = Rewording(redis_server.port, request.param)
    yield way
    way.close()


@pytest.fixture
def redis_backend(client, redis_server, monkeypatch):
    """Puts this package behind backend="redis", on the tests' empty server."""
    import fiftyone.brain as fob

    monkeypatch.setattr(fob.brain_config, "similarity_backends", {"redis": {}, "sklearn": {}})
    fiftyone_redis.register()
    fob.brain_config.similarity_backends["redis"]["url"] = redis_server.url
    fob.brain_config.similarity_backends["sklearn"]["config_cls"] = (
        "fiftyone.brain.internal.core.sklearn.SklearnSimilarityConfig"
    )
    return fob.brain_config.similarity_backends["redis"]
