"""Finds the primary through sentinels, and explains why they report none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
)

from fiftyone_redis.connection.pool import ReentrantPool
from fiftyone_redis.connection.protocol.deadline import HandshakeTimeout
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.connection.retry import FailingOverError, is_connection_lost
from fiftyone_redis.connection.secret import hide_secrets
from fiftyone_redis.connection.tls import TlsConnection
from fiftyone_redis.errors import list_first


def make_pool(
    sentinels: Sequence[tuple[str, int]],
    service_name: str,
    credentials: dict[str, Any],
    options: dict[str, Any],
) -> redis.ConnectionPool:
    """Returns a pool of connections to the current primary of a service.

    Args:
        sentinels: the addresses of the sentinels
        service_name: the service name that they monitor
        credentials: ``username`` and ``password`` for the sentinels
        options: redis-py's options for connections to the server; TLS options and the connect
            timeout also apply to the sentinels
    """
    patience = options["socket_connect_timeout"]
    shared = {name: value for name, value in options.items() if name.startswith("ssl")}
    shared = hide_secrets({**shared, **credentials})
    shared.update(socket_connect_timeout=patience, socket_timeout=patience, protocol=2)
    secure = options.get("ssl", False)
    kind = _TlsConnection if secure else _Connection
    rest = hide_secrets({name: value for name, value in options.items() if name != "ssl"})
    manager: Sentinel = _Sentinels(  # type: ignore[no-untyped-call]
        sentinels, sentinel_kwargs={**shared, "retry": options["retry"]}
    )
    return _Pool(service_name, manager, connection_class=kind, **rest)


def copy_pool(pool: SentinelConnectionPool, **changes: Any) -> redis.ConnectionPool:
    """Returns a new pool for the same service, with some options changed."""
    options = {**pool.connection_kwargs, **changes}
    del options["connection_pool"]
    return _Pool(
        pool.service_name,
        pool.sentinel_manager,
        connection_class=pool.connection_class,
        **options,
    )


def get_address(pool: SentinelConnectionPool) -> str:
    """Returns the service name and the addresses of the sentinels."""
    return f"{pool.service_name!r} of the sentinels {_list_addresses(pool.sentinel_manager)}"


class _Pool(SentinelConnectionPool, ReentrantPool):
    """redis-py's sentinel pool, made safe for forks and the garbage collector."""

    def __init__(self, service_name: str, manager: Sentinel, **options: Any) -> None:
        super().__init__(service_name, manager, **options)  # type: ignore[no-untyped-call]


class _Connection(HandshakeTimeout, SentinelManagedConnection):
    """A connection that reports an unreachable primary as failing over.

    Sentinels keep naming a dead primary until they notice that it is down.
    """

    def connect_to(self, address: tuple[str, int]) -> None:
        try:
            super().connect_to(address)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            if not is_connection_lost(error):
                raise
            raise FailingOverError(
                f"The sentinels name a primary at {address[0]}:{address[1]}, which does not "
                f"answer ({error}); check that it runs and can be reached from here"
            ) from error


class _TlsConnection(_Connection, TlsConnection):
    """The same over TLS."""


class _Sentinels(Sentinel):
    """redis-py's sentinels, with better errors if they report no primary."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            with parsing("SENTINEL MASTERS"):
                found: tuple[str, int] = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except (MasterNotFoundError, redis.ResponseError):
            why = self._explain_missing_primary(service_name)
            raise why from why.__cause__
        return found

    def _explain_missing_primary(self, service_name: str) -> redis.RedisError:
        known: set[str] = set()
        failures: list[redis.RedisError] = []
        for each in self.sentinels:
            try:
                masters: Any = each.sentinel_masters()
                known |= set(masters)
            except redis.RedisError as error:
                failures.append(error)
        where = _list_addresses(self)
        if service_name in known:
            return FailingOverError(f"The sentinels {where} see no primary of {service_name!r} now")
        if len(failures) < len(self.sentinels):
            watched = list_first([repr(name) for name in sorted(known)]) or "none"
            return MasterNotFoundError(
                f"The sentinels {where} know no service {service_name!r}, only {watched}; set "
                "service_name"
            )
        return _make_no_sentinel_error(failures, where)


def _make_no_sentinel_error(failures: list[redis.RedisError], where: str) -> redis.RedisError:
    """Returns the error for sentinels that all failed."""
    for failure in failures:
        if isinstance(failure, redis.AuthenticationError | redis.exceptions.NoPermissionError):
            return redis.AuthenticationError(
                f"The sentinels {where} refuse their own credentials; set sentinel_username and "
                "sentinel_password"
            )
    reason = MasterNotFoundError(
        f"No sentinel answers at {where} ({failures[0]}); set sentinels to addresses of sentinels"
    )
    # The first error shows whether TLS or the network failed.
    reason.__cause__ = failures[0]
    return reason


def _list_addresses(sentinels: Sentinel) -> str:
    places = [each.connection_pool.connection_kwargs for each in sentinels.sentinels]
    return ", ".join(f"{place['host']}:{place['port']}" for place in places)
