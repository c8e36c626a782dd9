"""A Redis Cluster: its nodes, which of them to ask for what, and what to do when they change.

Commands of the query engine go to one node, whose coordinator asks the others. Documents belong to
the node that holds their key's hash slot; ``routing.py`` sends them there. Slots and roles move
from node to node while the cluster works: what fails because of that is tried again, by the same
rules as with one server, after the nodes were asked anew who holds what.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ has the protocol.

For a server that is no cluster these functions do the plain thing, so that the rest of the engine
need not know the difference.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
)

from fiftyone_redis.connection import retry
from fiftyone_redis.connection.deadline import await_reply
from fiftyone_redis.connection.pool import (
    add_handshake_timeout,
    borrow_connection,
    read_address,
    send_command,
)
from fiftyone_redis.connection.retry import Attempts, RetryPolicy
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.connection.wire import pack
from fiftyone_redis.errors import ConnectionFailedError, UnsupportedServerError, list_first

Client = redis.Redis | redis.RedisCluster
"""A client of one server, or of a cluster."""

_REACH_SECONDS = 2.0  # to wait for a node that may be dead


class IncompleteClusterError(ClusterDownError):
    """A part of the cluster does not take part in its answers; a sentence tells which."""


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

# Which of the nodes this process asks to search: another process may ask another one.
_PREFERRED = random.randrange(1 << 16)  # noqa: S311


def connect_cluster(seed: redis.Redis) -> redis.RedisCluster:
    """Returns a client of the cluster that a server is a node of.

    Args:
        seed: a client of that server; the other nodes are reached with the same options, and its
            rules for trying again hold for the cluster

    Raises:
        UnsupportedServerError: if the server is reached by a socket, which leads to one node only
        ConnectionFailedError: if the server does not tell its cluster's nodes
        AuthenticationError: if the user lacks the right to ask for them
    """
    return _connect(seed.connection_pool, retry.get_retry_policy(seed))


def open_decoding_client(client: redis.RedisCluster) -> redis.RedisCluster:
    """Returns a client of the same cluster whose replies are text."""
    return _copy_client(client, client.retry, decode_responses=True)


@contextmanager
def limit_retries(client: Client, seconds: float) -> Iterator[Client]:
    """Connects to the same cluster with less patience; closes that connection at the end.

    Args:
        client: a client of a cluster; that of one server is given back as it is
        seconds: after how many seconds nothing is tried again

    Raises:
        FiftyOneRedisError: if no node tells the nodes of the cluster
    """
    rules = retry.get_retry_policy(client)
    if not isinstance(client, redis.RedisCluster) or rules.seconds <= seconds:
        yield client
        return
    brief = _copy_client(client, RetryPolicy(rules.count, seconds))
    try:
        yield brief
    finally:
        brief.close()


def list_primaries(client: Client) -> list[redis.Redis]:
    """Returns clients of the nodes that hold the documents; for one server, its own."""
    if not isinstance(client, redis.RedisCluster):
        return [client]
    nodes = sorted(client.get_primaries(), key=lambda pick_node: str(pick_node.name))
    return [client.get_redis_connection(pick_node) for pick_node in nodes]


def pick_node(client: Client, failures: int) -> redis.Redis:
    """Returns a client of the node to ask for what no key leads to; for one server, its own.

    Args:
        client: a client of the cluster, or of one server
        failures: how often others were asked in vain
    """
    nodes = list_primaries(client)
    return nodes[(_PREFERRED + failures) % len(nodes)]


def get_address(client: redis.RedisCluster) -> str:
    """Returns where the nodes are that hold the documents, without credentials."""
    return list_first([_get_node_address(pick_node) for pick_node in list_primaries(client)])


def wait_and_recover(client: Client, attempts: Attempts, error: redis.RedisError) -> None:
    """Waits until the next attempt is to be made, and makes ready for it.

    Args:
        client: the client
        attempts: those at the work that failed
        error: what it failed with

    Raises:
        ConnectionFailedError: if a node of the cluster is gone, and no other takes its place
        redis.RedisError: that error, if the work is not to be tried again
    """
    try:
        attempts.wait_or_raise(error)
    except redis.RedisError:
        if isinstance(error, IncompleteClusterError):
            raise ConnectionFailedError(f"{error}.") from error
        if isinstance(client, redis.RedisCluster) and is_retryable(error):
            raise _make_lost_node_error(client, error) from error
        raise
    if isinstance(client, redis.RedisCluster):
        refresh_slots(client)
    else:
        retry.close_idle_connections(client)


def refresh_slots(client: redis.RedisCluster) -> None:
    """Asks the nodes again who holds what; if none answers, what was known stays."""
    try:
        client.nodes_manager.initialize()
    except (RedisClusterException, redis.RedisError, IndexError):
        return  # whoever waits for the cluster asks again


def send_routed(client: redis.RedisCluster, command: Sequence[Any], failures: int) -> Any:
    """Sends one command to the node that it concerns, or, if that is none in particular, to any.

    Args:
        client: a client of the cluster
        command: the command
        failures: how often others were asked in vain

    Raises:
        redis.RedisError: whatever goes wrong
    """
    try:
        return send_command(pick_node(client, failures), command)
    except MovedError:
        try:
            return client.execute_command(*command)
        except RedisClusterException as error:
            raise ClusterDownError(str(error)) from error  # a slot that no node holds


def is_retryable(error: Any) -> bool:
    """Returns whether a reply or error is one that a cluster may not give the next time."""
    return isinstance(error, redis.RedisError) and (
        retry.is_transient(error) or retry.is_connection_lost(error)
    )


def _copy_client(client: redis.RedisCluster, rules: Any, **changes: Any) -> redis.RedisCluster:
    nodes = list_primaries(client)
    seed = next((node for node in nodes if _responds(node)), nodes[0])
    return _connect(seed.connection_pool, rules, **changes)


def _connect(pool: redis.ConnectionPool, rules: Any, **changes: Any) -> redis.RedisCluster:
    known = pool.connection_kwargs
    if "path" in known:
        raise UnsupportedServerError(
            f"Redis at {known['path']} is a node of a cluster, whose other nodes cannot be reached "
            "by a socket; set host and port."
        )
    options = {name: known[name] for name in _SHARED if known.get(name) is not None} | changes
    host, port = str(known.get("host", "localhost")), int(known.get("port", 6379))
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        # An IndexError is what redis-py makes of a node that holds no slots.
        found = _Cluster(
            url=f"redis://{where}",
            connection_class=_make_connection_class(pool),
            connection_pool_class=type(pool),
            require_full_coverage=False,
            **options,
        )
    except redis.RedisError as error:
        raise translate(error, where) from error
    except (RedisClusterException, IndexError) as error:
        refused = _find_no_permission(error)
        if refused is not None:
            raise translate(refused, where) from error
        raise ConnectionFailedError(
            f"Redis at {where} does not tell the nodes of its cluster ({error})."
        ) from error
    found.retry = rules
    return found


def _find_no_permission(error: BaseException | None) -> NoPermissionError | None:
    """Returns the refusal that redis-py made another error of, if there was one."""
    while error is not None and not isinstance(error, NoPermissionError):
        error = error.__cause__ or error.__context__
    return error


class _Cluster(redis.RedisCluster):
    """redis-py's, with connections of its own to each node.

    When redis-py asks the nodes again who holds what, versions 6 and 7 end all of its connections
    to one of them, those in use too, and each makes itself anew with the next request: replies
    would be taken for those to other requests.
    """

    def __init__(self, **options: Any) -> None:
        # redis-py's own connections tell who holds what, which takes no time. Those who are handed
        # a client that decodes use them for pipelines too.
        brief = options.get("socket_timeout")
        if not options.get("decode_responses"):
            brief = options.get("socket_connect_timeout", brief)
        self._options = {
            name: options[name] for name in (*_SHARED, "connection_class") if name in options
        }
        self._pool_class = options["connection_pool_class"]
        self._nodes: dict[str, redis.Redis] = {}
        super().__init__(**{**options, "socket_timeout": brief})

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        """Returns a client of a node, which tries once."""
        name = str(node.name)
        if name not in self._nodes:
            pool = self._pool_class(
                host=node.host,
                port=node.port,
                redis_connect_func=self.on_connect,
                retry=RetryPolicy(0, 0),
                **self._options,
            )
            self._nodes.setdefault(name, redis.Redis.from_pool(pool))
        return self._nodes[name]

    def close(self) -> None:
        """Closes all connections."""
        for node in self._nodes.values():
            node.close()
        if hasattr(self, "nodes_manager"):  # which it lacks if it found no nodes
            self.disconnect_connection_pools()  # type: ignore[no-untyped-call]
        super().close()


def _make_connection_class(pool: redis.ConnectionPool) -> type[redis.Connection]:
    """Returns the kind of connection that a pool makes, with the pool's options of TLS.

    redis-py has a list of the options that it hands on to the nodes of a cluster, and drops others
    silently: the older ones the check of the host name.
    """
    kind: type[redis.Connection] = add_handshake_timeout(pool.connection_class)
    tls = {name: value for name, value in pool.connection_kwargs.items() if name[:4] == "ssl_"}
    if not tls:
        return kind

    class NodeConnection(kind):  # type: ignore[misc, valid-type]
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, **tls})

    return NodeConnection


def _make_lost_node_error(
    client: redis.RedisCluster, error: redis.RedisError
) -> ConnectionFailedError:
    """Returns the error of a cluster that did not recover; names the nodes that do not answer."""
    lost = [_get_node_address(node) for node in list_primaries(client) if not _responds(node)]
    return ConnectionFailedError(
        f"Redis at {list_first(lost) if lost else get_address(client)} does not answer for its "
        f"part of the cluster ({str(error).rstrip(' ,.')}), and no other node took its place; "
        "bring it back, or have a replica take over, and repeat this."
    )


def _responds(node: redis.Redis) -> bool:
    try:
        with borrow_connection(node) as connection:
            connection.send_packed_command([pack(["PING"])])
            await_reply(connection, _REACH_SECONDS)
            connection.read_response()
    except redis.ResponseError:
        return True  # this user may not ask
    except redis.RedisError:
        return False
    return True


def _get_node_address(node: redis.Redis) -> str:
    return read_address(node.connection_pool.connection_kwargs)
