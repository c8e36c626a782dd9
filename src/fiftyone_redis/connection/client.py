"""Connects to a server or cluster, and checks that it can search."""

from __future__ import annotations

from typing import Any

import redis

from fiftyone_redis.connection.capabilities import Capabilities, check_server
from fiftyone_redis.connection.clients import sentinel
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.cluster.cluster_client import Cluster, connect_cluster
from fiftyone_redis.connection.parameters import (
    CERTIFICATES,
    CONNECT_TIMEOUT,
    Parameters,
    check_parameters,
)
from fiftyone_redis.connection.pool import DEFAULT_HOST, DEFAULT_PORT, Pool
from fiftyone_redis.connection.protocol.deadline import REPLY_TIMEOUT
from fiftyone_redis.connection.retry import RETRIES, RETRY_TIMEOUT, RetryPolicy
from fiftyone_redis.connection.secret import reveal
from fiftyone_redis.connection.tls import TlsConnection, fetch_tls_refusal
from fiftyone_redis.connection.tls_errors import find_tls_error
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.url import parse_url
from fiftyone_redis.errors import FiftyOneRedisError, SettingsError, UnsupportedServerError

Client = Server | Cluster
"""A client of one server, or of a cluster."""


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
    client = Server.from_pool(_make_pool(wanted))
    try:
        found = _check_server(client)
        if not _is_cluster(wanted, found):
            return client
        nodes = connect_cluster(client)
        nodes.known_capabilities = found
    except FiftyOneRedisError:
        client.close()
        raise
    client.close()
    return nodes


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


def _check_server(client: Server) -> Capabilities:
    db = client.connection_pool.connection_kwargs.get("db") or 0
    if db != 0:
        raise UnsupportedServerError(
            f"Indexes can only be made in database 0, not in {db}; set db=0."
        )
    try:
        # A loading server is waited for; if none answers, this fails at once.
        for attempt in client.retrying(retry_lost=False):
            with attempt:
                client.fetch_capabilities()
    except FiftyOneRedisError as error:
        if not isinstance(error.__cause__, redis.ConnectionError) or find_tls_error(error):
            raise
        told = fetch_tls_refusal(client.connection_pool)
        if told is None:
            raise
        with translate_errors(client.address):
            raise redis.ConnectionError(str(told)) from told
    return check_server(client.get_capabilities())


def _is_cluster(wanted: Parameters, found: Capabilities) -> bool:
    """Returns whether to connect to the other nodes of a cluster."""
    if wanted.cluster and not found.clustered:
        raise SettingsError(
            f"cluster is set, but this server ({found}) is not a cluster node; leave cluster out."
        )
    return found.clustered if wanted.cluster is None else wanted.cluster
