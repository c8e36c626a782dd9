"""Redis Cluster: picks nodes, sends commands to them, and recovers when slots or roles move.

Search commands go to one node, whose coordinator queries the others. Documents live on the node
that holds their key's hash slot; ``routing.py`` sends them there. Slots and roles can move at any
time: commands that fail because of it are retried under the client's retry policy, after the slot
map was refreshed.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ has the protocol.

The functions also accept a client of a single server, so callers need not distinguish the two.
"""

from __future__ import annotations

import inspect
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
from fiftyone_redis.connection.parsing import parsing
from fiftyone_redis.connection.pool import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    add_handshake_timeout,
    borrow_connection,
    read_address,
    read_options,
    send_command,
)
from fiftyone_redis.connection.retry import Attempts, RetryPolicy
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.connection.wire import pack
from fiftyone_redis.errors import (
    ConnectionFailedError,
    ProtocolError,
    UnsupportedServerError,
    list_first,
)

Client = redis.Redis | redis.RedisCluster
"""A client of one server, or of a cluster."""

_REACH_SECONDS = 2.0  # how long to wait for a node that may be down


class IncompleteClusterError(ClusterDownError):
    """Some shards are missing from search results; the message names them."""


# Options of a connection that its node alone has, or that this module sets.
_OF_ONE_NODE = ("connection_class", "db", "host", "port", "redis_connect_func", "retry")

# Picks the node that this process searches through, so that processes spread over the nodes.
_PREFERRED = random.randrange(1 << 16)  # noqa: S311


def connect_cluster(seed: redis.Redis) -> redis.RedisCluster:
    """Returns a client of the cluster that a server is a node of.

    Args:
        seed: a client of that server; the cluster client takes over its options and its retry
            policy

    Raises:
        UnsupportedServerError: if the client uses a Unix socket, which reaches one node only
        ConnectionFailedError: if the server does not report its cluster's nodes
        AuthenticationError: if the user lacks the permission to list them
    """
    return _connect(seed.connection_pool, retry.get_retry_policy(seed))


def open_decoding_client(client: redis.RedisCluster) -> redis.RedisCluster:
    """Returns a client of the same cluster that decodes replies to text."""
    return _copy_client(client, client.retry, decode_responses=True)


@contextmanager
def limit_retries(client: Client, seconds: float) -> Iterator[Client]:
    """Opens a second client that retries for a shorter time; closes it at the end.

    Args:
        client: a client of a cluster; a client of a single server is returned as it is
        seconds: the time budget for retries

    Raises:
        FiftyOneRedisError: if no node reports the cluster's nodes
    """
    policy = retry.get_retry_policy(client)
    if not isinstance(client, redis.RedisCluster) or policy.seconds <= seconds:
        yield client
        return
    brief = _copy_client(client, RetryPolicy(policy.count, seconds))
    try:
        yield brief
    finally:
        brief.close()


def list_primaries(client: Client) -> list[redis.Redis]:
    """Returns clients of all primaries; for a single server, the client itself."""
    if not isinstance(client, redis.RedisCluster):
        return [client]
    nodes = sorted(client.get_primaries(), key=lambda pick_node: str(pick_node.name))
    return [client.get_redis_connection(pick_node) for pick_node in nodes]


def pick_node(client: Client, failures: int) -> redis.Redis:
    """Returns a client of the node for commands without keys; for a single server, the client.

    Args:
        client: a client of a cluster or of a single server
        failures: how many attempts failed; each failure moves on to the next node
    """
    nodes = list_primaries(client)
    return nodes[(_PREFERRED + failures) % len(nodes)]


def get_address(client: redis.RedisCluster) -> str:
    """Returns the addresses of the primaries, without credentials."""
    return list_first([_get_node_address(pick_node) for pick_node in list_primaries(client)])


def wait_and_recover(client: Client, attempts: Attempts, error: redis.RedisError) -> None:
    """Waits before the next attempt; refreshes the slot map, or closes idle connections.

    Args:
        client: the client
        attempts: the attempts so far
        error: the error of the last attempt

    Raises:
        ConnectionFailedError: if a cluster node is down, and no replica took over
        redis.RedisError: the error itself, if it is not retried
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
    """Refreshes the slot map; keeps the old one if no node answers."""
    try:
        with parsing("CLUSTER SLOTS"):
            client.nodes_manager.initialize()
    except (RedisClusterException, redis.RedisError, ProtocolError):
        return  # the next attempt refreshes again


def send_routed(client: redis.RedisCluster, command: Sequence[Any], failures: int) -> Any:
    """Sends one command to the node of its key; without a key, to any node.

    Args:
        client: a client of the cluster
        command: the command
        failures: how many attempts failed; each failure moves on to the next node

    Raises:
        redis.RedisError: any error of redis-py
    """
    try:
        return send_command(pick_node(client, failures), command)
    except MovedError:
        try:
            with parsing(str(command[0])):
                return client.execute_command(*command)
        except RedisClusterException as error:
            raise ClusterDownError(str(error)) from error  # no node holds the slot


def is_retryable(error: Any) -> bool:
    """Returns whether a reply is an error that a retry may fix."""
    return isinstance(error, redis.RedisError) and (
        retry.is_transient(error) or retry.is_connection_lost(error)
    )


def _copy_client(client: redis.RedisCluster, policy: Any, **changes: Any) -> redis.RedisCluster:
    nodes = list_primaries(client)
    seed = next((node for node in nodes if _responds(node)), nodes[0])
    return _connect(seed.connection_pool, policy, **changes)


def _connect(pool: redis.ConnectionPool, policy: Any, **changes: Any) -> redis.RedisCluster:
    known = read_options(pool)
    if "path" in known:
        raise UnsupportedServerError(
            f"Redis at {known['path']} is a node of a cluster; its other nodes cannot be reached "
            "through a socket; set host and port."
        )
    options = {name: value for name, value in known.items() if name not in _OF_ONE_NODE} | changes
    host, port = str(known.get("host", DEFAULT_HOST)), int(known.get("port", DEFAULT_PORT))
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        # redis-py raises an IndexError if the node holds no slots.
        with parsing("CLUSTER SLOTS or COMMAND"):
            found = _Cluster(f"redis://{where}", known["connection_class"], type(pool), options)
    except redis.RedisError as error:
        raise translate(error, where) from error
    except (RedisClusterException, ProtocolError) as error:
        refused = _find_no_permission(error)
        if refused is not None:
            raise translate(refused, where) from error
        raise ConnectionFailedError(
            f"Redis at {where} does not report the nodes of its cluster ({error})."
        ) from error
    found.retry = policy
    return found


def _find_no_permission(error: BaseException | None) -> NoPermissionError | None:
    """Returns the NOPERM error that redis-py wrapped in another error, if any."""
    while error is not None and not isinstance(error, NoPermissionError):
        error = error.__cause__ or error.__context__
    return error


class _Cluster(redis.RedisCluster):
    """A cluster client with its own connection pool for each node.

    When redis-py 6 and 7 refresh the slot map, they close all connections to one node, even those
    in use. These reconnect with the next request, and replies get attributed to other requests.
    """

    def __init__(
        self, url: str, kind: type[Any], pool_class: type[Any], options: dict[str, Any]
    ) -> None:
        # redis-py's own connections only fetch the slot map, so a short timeout will do. A decoding
        # client is for users, whose pipelines run on these connections too.
        brief = options.get("socket_timeout")
        if not options.get("decode_responses"):
            brief = options.get("socket_connect_timeout", brief)
        self._kind = _add_options(add_handshake_timeout(kind), options)
        self._pool_class = pool_class
        self._options = options
        self._nodes: dict[str, redis.Redis] = {}
        super().__init__(
            url=url,
            connection_class=self._kind,
            connection_pool_class=pool_class,
            require_full_coverage=False,
            **{**options, "socket_timeout": brief},
        )

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        """Returns a client of a node that does not retry."""
        name = str(node.name)
        if name not in self._nodes:
            pool = self._pool_class(
                connection_class=self._kind,
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
        if hasattr(self, "nodes_manager"):  # missing if no node was found
            self.disconnect_connection_pools()  # type: ignore[no-untyped-call]
        super().close()


def _add_options(kind: type[redis.Connection], options: dict[str, Any]) -> type[redis.Connection]:
    """Returns a connection class with options built in.

    redis-py passes only some options on to cluster nodes, and drops others silently: older
    versions drop the host name check, and all of them lib_name.
    """
    pool_only = inspect.signature(redis.ConnectionPool.__init__).parameters
    own = {name: value for name, value in options.items() if name not in pool_only}

    class NodeConnection(kind):  # type: ignore[misc, valid-type]
        def __init__(self, **given: Any) -> None:
            super().__init__(**{**own, **given})

    return NodeConnection


def _make_lost_node_error(
    client: redis.RedisCluster, error: redis.RedisError
) -> ConnectionFailedError:
    """Returns the error for a cluster that did not recover; names the nodes that are down."""
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
        return True  # this user may not send PING
    except redis.RedisError:
        return False
    return True


def _get_node_address(node: redis.Redis) -> str:
    return read_address(node.connection_pool.connection_kwargs)
