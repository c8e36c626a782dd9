"""Connects to a server or cluster, checks that it can search, and sends single commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.sentinel import SentinelConnectionPool

from fiftyone_redis.connection import cluster, complete_answers, partial_index, sentinel
from fiftyone_redis.connection.capabilities import (
    Capabilities,
    cache_capabilities,
    check_server,
    fetch_untranslated,
)
from fiftyone_redis.connection.certificates import find_tls_error
from fiftyone_redis.connection.cluster import Client
from fiftyone_redis.connection.deadline import REPLY_TIMEOUT
from fiftyone_redis.connection.parameters import (
    CERTIFICATES,
    CONNECT_TIMEOUT,
    Parameters,
    check_parameters,
)
from fiftyone_redis.connection.pool import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Pool,
    read_address,
    read_options,
    send_command,
)
from fiftyone_redis.connection.retry import (
    RETRIES,
    RETRY_TIMEOUT,
    Attempts,
    RetryPolicy,
    is_connection_lost,
)
from fiftyone_redis.connection.secret import reveal
from fiftyone_redis.connection.tls import TlsConnection, fetch_tls_refusal
from fiftyone_redis.connection.translate import translate, translate_errors
from fiftyone_redis.connection.url import parse_url
from fiftyone_redis.connection.wire import is_already_done, is_search_command, read_index_name
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexMismatchError,
    IndexNotFoundError,
    SettingsError,
    UnsupportedServerError,
)


def connect(url: str | None = None, **parameters: Any) -> Client:
    """Connects to a server or to its cluster, and checks that it can search.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; replaces host, port, db, login and ssl
        **parameters: any fields of :class:`~fiftyone_redis.connection.parameters.Parameters`,
            which explains them: host, port, db, username and password; ssl and its files; timeouts;
            sentinels; cluster; retries

    Returns:
        a client that speaks RESP3 and returns bytes

    Raises:
        SettingsError: if a parameter or the URL is invalid, or some conflict
        ConnectionFailedError: if no server answers. Refused first connections are not retried;
            loading and failing-over servers are.
        AuthenticationError: if the server does not accept the credentials
        UnsupportedServerError: if it has no query engine, or the database is not 0
    """
    return connect_with(check_parameters({**parameters, "url": url}))


def connect_with(wanted: Parameters) -> Client:
    """Connects as :func:`connect` does, with checked parameters.

    Raises:
        FiftyOneRedisError: if no server answers, or the server cannot be used
    """
    client = redis.Redis.from_pool(_make_pool(wanted))
    try:
        found = _check_server(client)
        if not _is_cluster(wanted, found):
            return client
        nodes = cluster.connect_cluster(client)
        cache_capabilities(nodes, found)
    except FiftyOneRedisError:
        client.close()
        raise
    client.close()
    return nodes


def open_decoding_client(client: Client) -> Client:
    """Returns a client of the same server that decodes replies to text."""
    if isinstance(client, redis.RedisCluster):
        return cluster.open_decoding_client(client)
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return redis.Redis.from_pool(sentinel.copy_pool(pool, decode_responses=True))
    return redis.Redis.from_pool(Pool(**{**read_options(pool), "decode_responses": True}))


def get_address(client: Client) -> str:
    """Returns the address of a client's server or cluster nodes, without credentials."""
    if isinstance(client, redis.RedisCluster):
        return cluster.get_address(client)
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return sentinel.get_address(pool)
    return read_address(pool.connection_kwargs)


def execute(client: Client, *command: Any) -> Any:
    """Sends one command and returns its raw reply; retries transient errors.

    In a cluster the command goes to the node that holds its key; without a key, to any node.

    Raises:
        FiftyOneRedisError: instead of any redis-py exception
    """
    attempts, lost = Attempts(client), False
    try:
        while True:
            try:
                if not isinstance(client, redis.RedisCluster):
                    return send_command(client, command)
                return _send_to_cluster(client, command, attempts.failures)
            except redis.RedisError as error:
                # The first attempt succeeded; only its reply was lost.
                if lost and is_already_done(command, str(error)):
                    return b"OK"
                cluster.wait_and_recover(client, attempts, error)
                lost = lost or is_connection_lost(error)
    except redis.RedisError as error:
        raise _explain(client, command, translate(error, get_address(client))) from error


def _explain(
    client: Client, command: Sequence[Any], problem: FiftyOneRedisError
) -> FiftyOneRedisError:
    """Returns a more precise error if only some nodes of a cluster have the index."""
    is_about_existence = isinstance(problem, IndexNotFoundError | IndexMismatchError)
    name = read_index_name(command) if is_about_existence else None
    return problem if name is None else partial_index.explain_partial_index(client, name) or problem


def _send_to_cluster(client: redis.RedisCluster, command: Sequence[Any], failures: int) -> Any:
    """Sends one command to its node; search commands get complete answers."""
    if is_search_command(str(command[0])) and complete_answers.needs_checks(client):
        return complete_answers.send_command(client, command, failures)
    return cluster.send_routed(client, command, failures)


def _make_pool(wanted: Parameters) -> redis.ConnectionPool:
    options = _make_options(wanted)
    if wanted.url is not None:
        return _make_pool_from_url(str(reveal(wanted.url)), options)
    options.update(
        db=wanted.db or 0, username=wanted.username, password=wanted.password, ssl=bool(wanted.ssl)
    )
    if wanted.ssl:
        options.setdefault("ssl_check_hostname", True)
    if wanted.sentinels:
        login = {"username": wanted.sentinel_username, "password": wanted.sentinel_password}
        return sentinel.make_pool(wanted.sentinels, str(wanted.service_name), login, options)
    kind = TlsConnection if options.pop("ssl") else redis.Connection
    options.update(host=wanted.host or DEFAULT_HOST, port=wanted.port or DEFAULT_PORT)
    return Pool(connection_class=kind, **options)


def _make_options(wanted: Parameters) -> dict[str, Any]:
    """Returns the redis-py options that do not depend on the address."""
    retries = RETRIES if wanted.retries is None else wanted.retries
    seconds = RETRY_TIMEOUT if wanted.retry_timeout is None else wanted.retry_timeout
    certificates = {name: getattr(wanted, name) for name in CERTIFICATES}
    return {
        "protocol": 3,
        "decode_responses": False,
        "socket_connect_timeout": wanted.socket_connect_timeout or CONNECT_TIMEOUT,
        "socket_timeout": wanted.socket_timeout or REPLY_TIMEOUT,
        "retry": RetryPolicy(retries, seconds),
        **{name: value for name, value in certificates.items() if value is not None},
    }


def _make_pool_from_url(url: str, options: dict[str, Any]) -> redis.ConnectionPool:
    parsed = parse_url(url)
    if url.startswith("rediss:"):
        # redis-py 5 checks the host name only on request, and needs a verified certificate for it.
        options.setdefault("ssl_check_hostname", parsed.get("ssl_cert_reqs") != "none")
    fixed = {name: options[name] for name in ("protocol", "decode_responses", "retry")}
    return Pool(**{**options, **parsed, **fixed})


def _check_server(client: redis.Redis) -> Capabilities:
    db = client.connection_pool.connection_kwargs.get("db") or 0
    if db != 0:
        raise UnsupportedServerError(
            f"Indexes can only be made in database 0, not in {db}; set db=0."
        )
    with translate_errors(get_address(client)):
        try:
            _wait_for_capabilities(client)
        except redis.ConnectionError as error:
            told = (
                fetch_tls_refusal(client.connection_pool) if find_tls_error(error) is None else None
            )
            if told is None:
                raise
            raise redis.ConnectionError(str(told)) from told
    return check_server(client)


def _wait_for_capabilities(client: redis.Redis) -> None:
    """Fetches the capabilities; waits for a loading server, fails at once if none answers."""
    attempts = Attempts(client, retry_lost=False)
    while True:
        try:
            fetch_untranslated(client)
        except redis.RedisError as error:
            cluster.wait_and_recover(client, attempts, error)
        else:
            return


def _is_cluster(wanted: Parameters, found: Capabilities) -> bool:
    """Returns whether to connect to the other nodes of a cluster."""
    if wanted.cluster and not found.clustered:
        raise SettingsError(
            f"cluster is set, but this server ({found}) is not a cluster node; leave cluster out."
        )
    return found.clustered if wanted.cluster is None else wanted.cluster
