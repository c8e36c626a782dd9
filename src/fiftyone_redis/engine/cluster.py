"""A Redis Cluster: its nodes, which of them to ask for what, and what to do when they change.

Commands of the query engine go to one node, whose coordinator asks the others. Documents belong to
the node that holds their key's hash slot (``routing.py`` sends them there). Slots and roles move
from node to node while the cluster works: whatever fails because of that is tried again, after the
nodes were asked anew, with growing waits, and not for longer than :data:`PATIENCE`.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ has the protocol.

For a server that is no cluster each of these functions does the plain thing, so that the rest of
the engine need not know the difference.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import redis
from redis.cluster import REDIS_ALLOWED_KEYS, ClusterNode
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisClusterException,
    TryAgainError,
)

from fiftyone_redis.engine.errors import (
    ConnectionFailedError,
    FiftyOneRedisError,
    SettingsError,
    UnsupportedServerError,
    some,
)

Client = redis.Redis | redis.RedisCluster
"""A client of one server, or of a cluster."""

PATIENCE = 60.0
"""Seconds to wait for a cluster that fails over, or moves slots, to answer again."""

_FIRST_WAIT = 0.02
_LONGEST_WAIT = 1.0

_PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    AskError,
    MovedError,
    ClusterDownError,
    TryAgainError,
    ReadOnlyError,
    RedisClusterException,
)
_LASTING = (AuthenticationError, AuthorizationError)

# The coordinator's words for a shard that it cannot reach, or for nodes that it does not know yet.
_COORDINATOR_WAITS = ("ERRCLUSTER", "Could not send query to cluster")

# Options of a connection that go for all nodes alike.
_SHARED = (
    "client_name",
    "credential_provider",
    "decode_responses",
    "max_connections",
    "password",
    "protocol",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_timeout",
    "username",
)

# Which of the nodes this process asks to search: another process asks another one.
_PREFERRED = random.randrange(1 << 16)  # noqa: S311

_T = TypeVar("_T")


def client(seed: redis.Redis) -> redis.RedisCluster:
    """Returns a client of the cluster that a server is a node of.

    Args:
        seed: a client of that server; the other nodes are reached with the same options

    Raises:
        UnsupportedServerError: if the server is reached by a socket, which leads to one node only
        SettingsError: if the installed redis-py would leave out an option
        ConnectionFailedError: if no node tells which others there are
    """
    pool = seed.connection_pool
    known = pool.connection_kwargs
    if "path" in known:
        raise UnsupportedServerError(
            f"Redis at {known['path']} is a node of a cluster, whose other nodes cannot be reached "
            "by a socket; set host and port."
        )
    options = {name: known[name] for name in _SHARED if known.get(name) is not None}
    if issubclass(pool.connection_class, redis.SSLConnection):
        options |= {"ssl": True, **_tls(known)}
    host, port = known.get("host", "localhost"), int(known.get("port", 6379))
    try:
        return redis.RedisCluster(
            startup_nodes=[ClusterNode(host, port)], require_full_coverage=False, **options
        )
    except RedisClusterException as error:
        raise ConnectionFailedError(
            f"The cluster of Redis at {host}:{port} does not tell its nodes ({error})."
        ) from error


def primaries(client: Client) -> list[redis.Redis]:
    """Returns clients of the nodes that hold the documents; for one server, its own."""
    if not isinstance(client, redis.RedisCluster):
        return [client]
    nodes = sorted(client.get_primaries(), key=lambda node: str(node.name))
    return [client.get_redis_connection(node) for node in nodes]


def addresses(client: Client) -> str:
    """Returns where the servers are that hold the documents, without credentials."""
    return some([address(node) for node in primaries(client)])


def address(node: redis.Redis) -> str:
    """Returns where one server is, without credentials."""
    options = node.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def coordinated(client: Client, work: Callable[[redis.Redis], _T]) -> _T:
    """Has one node do work that concerns the whole cluster; another one if that node is gone.

    Args:
        client: a client of the cluster, or of one server
        work: done with a client of one node, from the start again if it has to be done elsewhere

    Raises:
        ConnectionFailedError: if no node could do it for as long as :data:`PATIENCE`
        FiftyOneRedisError: or an error of redis-py: what ``work`` raised
    """
    if not isinstance(client, redis.RedisCluster):
        return work(client)
    for attempt in attempts(client):
        node = _preferred(client, attempt)
        try:
            return work(node)
        except (redis.RedisError, FiftyOneRedisError) as error:
            if not passes(error):
                raise
            failure = error
            refresh(client)
    raise gone(client, failure, "The command was not carried out.") from failure


def execute(client: Client, command: tuple[Any, ...]) -> Any:
    """Sends one command; in a cluster to the node of its key, if it has one, or to any."""

    def work(node: redis.Redis) -> Any:
        try:
            return node.execute_command(*command)
        except MovedError:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    return coordinated(client, work)


def attempts(client: redis.RedisCluster) -> Iterator[int]:
    """Counts attempts from 0, with growing, jittered waits, for as long as :data:`PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    wait, attempt = _FIRST_WAIT, 0
    while True:
        yield attempt
        if time.monotonic() + wait > deadline:
            return
        time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
        wait, attempt = min(2 * wait, _LONGEST_WAIT), attempt + 1


def passes(error: object) -> bool:
    """Tells whether what failed with an error may be repeated, and will succeed in a while."""
    if isinstance(error, FiftyOneRedisError):
        error = error.__cause__
    if isinstance(error, _LASTING):
        return False
    if isinstance(error, redis.ResponseError) and str(error).startswith(_COORDINATOR_WAITS):
        return True
    return isinstance(error, _PASSING)


def refresh(client: redis.RedisCluster) -> None:
    """Asks the cluster again which node holds which slots, if one answers."""
    try:
        client.nodes_manager.initialize()
    except (RedisClusterException, redis.RedisError):
        return  # what was known stays; whoever waits for the cluster tries again


def gone(client: redis.RedisCluster, error: Exception | None, undone: str) -> ConnectionFailedError:
    """Returns the error of a cluster that did not recover; names the nodes that do not answer.

    Args:
        client: a client of the cluster
        error: what was answered, or not, at last
        undone: a sentence about what was not done
    """
    lost = [address(node) for node in primaries(client) if not _answers(node)]
    reason = error.__cause__ if isinstance(error, FiftyOneRedisError) else error
    return ConnectionFailedError(
        f"Redis at {some(lost) if lost else addresses(client)} does not answer for its part of the "
        f"cluster ({str(reason).rstrip(' ,.')}), and no other node took its place within "
        f"{PATIENCE:.0f} seconds. {undone} Bring it back, or have a replica take over, and repeat "
        "this."
    )


def _answers(node: redis.Redis) -> bool:
    try:
        return bool(node.ping())
    except redis.RedisError:
        return False


def _preferred(client: redis.RedisCluster, attempt: int) -> redis.Redis:
    nodes = primaries(client)
    return nodes[(_PREFERRED + attempt) % len(nodes)]


def _tls(known: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of TLS that are set; raises if redis-py would silently drop one."""
    found = {
        name: value
        for name, value in known.items()
        if name.startswith("ssl_") and value is not None and value is not False
    }
    dropped = sorted(found.keys() - set(REDIS_ALLOWED_KEYS))
    if dropped:
        raise SettingsError(
            f"redis-py {redis.__version__} leaves out {some(dropped)} for a cluster; install a "
            "newer one or do without."
        )
    return found
