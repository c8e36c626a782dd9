"""A client of a Redis Cluster: picks nodes, and recovers when slots or roles move.

Search commands go to one node, whose coordinator queries the others (``complete_answers.py``).
Documents live on the node that holds their key's hash slot; ``routing.py`` sends them there. Slots
and roles can move at any time: commands that fail because of it are retried under the client's
retry policy, after the slot map was refreshed.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ has the protocol.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
)

from fiftyone_redis.connection.clients.base_client import Replies, Sender
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.cluster import routing
from fiftyone_redis.connection.cluster.complete_answers import Known, SearchedCluster
from fiftyone_redis.connection.cluster.partial_index import explain_partial_index
from fiftyone_redis.connection.pool import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    add_handshake_timeout,
    borrow_connection,
    read_options,
    send_command,
)
from fiftyone_redis.connection.protocol.deadline import await_reply
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.protocol.refusals import is_pool_exhausted
from fiftyone_redis.connection.protocol.wire import (
    Request,
    is_search_command,
    pack,
    read_index_name,
)
from fiftyone_redis.connection.retry import (
    Attempts,
    IncompleteClusterError,
    RetryPolicy,
    is_retryable,
    read_policy,
)
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.errors import (
    ConnectionFailedError,
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    ProtocolError,
    UnsupportedServerError,
    list_first,
)

_REACH_SECONDS = 2.0  # how long to wait for a node that may be down

# Options of a connection that its node alone has, or that this module sets.
_OF_ONE_NODE = ("connection_class", "db", "host", "port", "redis_connect_func", "retry")

# Picks the node that this process searches through, so that processes spread over the nodes.
_PREFERRED = random.randrange(1 << 16)  # noqa: S311


def connect_cluster(seed: redis.Redis) -> Cluster:
    """Returns a client of the cluster that a server is a node of.

    Args:
        seed: a client of that server; the cluster client takes over its options and its retry
            policy

    Raises:
        UnsupportedServerError: if the client uses a Unix socket, which reaches one node only
        ConnectionFailedError: if the server does not report its cluster's nodes
        AuthenticationError: if the user lacks the permission to list them
    """
    return _connect(seed.connection_pool, read_policy(seed.get_retry()))


class Cluster(SearchedCluster, redis.RedisCluster):
    """A client of a cluster, with its own connection pool for each node.

    When redis-py 6 and 7 refresh the slot map, they close all connections to one node, even those
    in use. These reconnect with the next request, and replies get attributed to other requests.
    """

    is_cluster = True

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
        self._nodes: dict[str, Server] = {}
        self.known = Known()
        super().__init__(
            url=url,
            connection_class=self._kind,
            connection_pool_class=pool_class,
            require_full_coverage=False,
            **{**options, "socket_timeout": brief},
        )

    def get_redis_connection(self, node: ClusterNode) -> Server:
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
            self._nodes.setdefault(name, Server.from_pool(pool))
        return self._nodes[name]

    def close(self) -> None:
        """Closes all connections."""
        for node in self._nodes.values():
            node.close()
        if hasattr(self, "nodes_manager"):  # missing if no node was found
            self.disconnect_connection_pools()  # type: ignore[no-untyped-call]
        super().close()

    @property
    def address(self) -> str:
        """The addresses of the primaries, without credentials."""
        return list_first([node.address for node in self.list_primaries()])

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often, and for how long, to retry."""
        return read_policy(self.retry)  # redis-py 8 lacks get_retry() for clusters

    def list_primaries(self) -> list[Server]:
        """Returns clients of all primaries, in the order of their names."""
        primaries = self.get_primaries()  # type: ignore[no-untyped-call]
        nodes = sorted(primaries, key=lambda node: str(node.name))
        return [self.get_redis_connection(node) for node in nodes]

    def pick_node(self, failures: int = 0) -> Server:
        """Returns a client of the node for commands without keys; another one after a failure."""
        nodes = self.list_primaries()
        return nodes[(_PREFERRED + failures) % len(nodes)]

    def open_decoding_client(self) -> Cluster:
        """Returns a client of the same cluster that decodes replies to text."""
        return self._copy(self.retry, decode_responses=True)

    @contextmanager
    def limit_retries(self, seconds: float) -> Iterator[Cluster]:
        """Opens a second client that retries for a shorter time; closes it at the end.

        Args:
            seconds: the time budget for retries

        Raises:
            FiftyOneRedisError: if no node reports the cluster's nodes
        """
        policy = self.retry_policy
        if policy.seconds <= seconds:
            yield self
            return
        brief = self._copy(RetryPolicy(policy.count, seconds))
        try:
            yield brief
        finally:
            brief.close()

    def wait_and_recover(self, attempts: Attempts, error: redis.RedisError) -> None:
        """Waits before the next attempt, and refreshes the slot map.

        Raises:
            ConnectionFailedError: if a node is down, and no replica took over
            redis.RedisError: the error itself, if it is not retried
        """
        try:
            attempts.wait_or_raise(error)
        except redis.RedisError:
            if isinstance(error, IncompleteClusterError):
                raise ConnectionFailedError(f"{error}.") from error
            if is_retryable(error) and not is_pool_exhausted(error):
                raise self._make_lost_node_error(error) from error
            raise
        self.refresh_slots()

    def refresh_slots(self) -> None:
        """Refreshes the slot map; keeps the old one if no node answers."""
        try:
            with parsing("CLUSTER SLOTS"):
                self.nodes_manager.initialize()
        except (RedisClusterException, redis.RedisError, ProtocolError):
            return  # the next attempt refreshes again

    def scan_nodes(self, pages: Callable[[Server], Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
        """Yields the pages of all nodes; see :func:`routing.scan`."""
        return routing.scan(self, pages)

    def exchange(self, requests: Iterable[Request]) -> Replies:
        """Sends each command to the node of its key, search commands to one node; yields replies.

        Raises:
            ConnectionFailedError: if a node is down, and no replica takes over in time
        """
        upcoming = iter(requests)
        first = next(upcoming, None)
        if first is None:
            return
        is_checked = first.keys is None and self.needs_checks()
        requests = chain([first], upcoming)
        yield from (
            self._exchange_searches(requests) if is_checked else routing.exchange(self, requests)
        )

    def _find_sender(self, name: str, failures: int) -> Sender:
        is_checked = is_search_command(name) and self.needs_checks()
        return partial(self._search if is_checked else self._send_routed, failures)

    def _send_routed(self, failures: int, command: Sequence[Any]) -> Any:
        """Sends one command to the node of its key; without a key, to any node."""
        try:
            return send_command(self.pick_node(failures), command)
        except MovedError:
            try:
                with parsing(str(command[0])):
                    return self.execute_command(*command)  # type: ignore[no-untyped-call]
            except RedisClusterException as error:
                raise ClusterDownError(str(error)) from error  # no node holds the slot

    def _explain(self, command: Sequence[Any], problem: FiftyOneRedisError) -> FiftyOneRedisError:
        """Returns a more precise error if only some nodes have the index."""
        is_about_existence = isinstance(problem, IndexNotFoundError | IndexMismatchError)
        name = read_index_name(command) if is_about_existence else None
        return problem if name is None else explain_partial_index(self, name) or problem

    def _copy(self, policy: Any, **changes: Any) -> Cluster:
        nodes = self.list_primaries()
        seed = next((node for node in nodes if _responds(node)), nodes[0])
        copy = _connect(seed.connection_pool, policy, **changes)
        copy.known_capabilities = self.known_capabilities
        return copy

    def _make_lost_node_error(self, error: redis.RedisError) -> ConnectionFailedError:
        """Returns the error for a cluster that did not recover; names the nodes that are down."""
        lost = [node.address for node in self.list_primaries() if not _responds(node)]
        return ConnectionFailedError(
            f"Redis at {list_first(lost) if lost else self.address} does not answer for its "
            f"part of the cluster ({str(error).rstrip(' ,.')}), and no other node took its place; "
            "restart it, or let a replica take over, and try again."
        )


def _connect(pool: redis.ConnectionPool, policy: Any, **changes: Any) -> Cluster:
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
            found = Cluster(f"redis://{where}", known["connection_class"], type(pool), options)
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
