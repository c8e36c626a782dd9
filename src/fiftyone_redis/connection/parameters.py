"""Connection parameters: their types, checks and conflicts. No sockets.

Names follow redis-py and FiftyOne's own backend where they have the parameter.
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fiftyone_redis.errors import SettingsError

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection."""

SENTINEL_PORT = 26379
"""The default port of a sentinel."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Parameters:
    """How to reach a server. None means not set.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; replaces host, port, db, username, password
            and ssl
        host: the server's name or address
        port: its TCP port
        db: its database; only 0 can be indexed
        username: the user to log in as
        password: that user's password
        ssl: whether to use TLS
        ssl_ca_certs: a file of the certificate authorities to trust besides the system's
        ssl_certfile: a file with this client's certificate
        ssl_keyfile: a file with the certificate's private key, if ssl_certfile lacks it
        ssl_check_hostname: whether the server's certificate must match its host name
        socket_timeout: seconds to wait for a reply; searches may have a shorter timeout
        socket_connect_timeout: seconds to wait for a connection
        sentinels: the addresses of the sentinels
        service_name: the service name that the sentinels monitor
        sentinel_username: the user to log in to the sentinels as
        sentinel_password: that user's password
        cluster: whether the server is a Redis Cluster node; None detects it
        retries: the most retries of one operation, 0 or more
        retry_timeout: the time budget for retries in seconds, 0 or more
    """

    url: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    db: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: bool | None = None
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool | None = None
    socket_timeout: float | None = None
    socket_connect_timeout: float | None = None
    sentinels: tuple[Address, ...] | None = None
    service_name: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    cluster: bool | None = None
    retries: int | None = None
    retry_timeout: float | None = None


NAMES = tuple(f.name for f in fields(Parameters))
"""The names of the parameters."""

SECRETS = frozenset(f.name for f in fields(Parameters) if not f.repr)
"""The parameters whose values are, or contain, secrets."""

CERTIFICATES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
"""The parameters that need TLS."""

_SENTINEL = ("service_name", "sentinel_username", "sentinel_password")
_IN_URL = ("host", "port", "db", "username", "password", "ssl", "sentinels", *_SENTINEL)


def check_parameters(values: Mapping[str, Any]) -> Parameters:
    """Checks parameters, and converts each to its type.

    Numbers and flags may be text, and sentinels a list or comma-separated text, because
    environment variables hold text.

    Args:
        values: parameters by name (:data:`NAMES`); None means not set

    Raises:
        SettingsError: if a name is unknown, a value has the wrong type, a file cannot be used, or
            some conflict; the message names all of them
    """
    unknown = sorted(values.keys() - set(NAMES))
    if unknown:
        raise SettingsError(f"Unknown connection parameters: {', '.join(unknown)}.")
    given = {
        name: _READERS[name](name, value) for name, value in values.items() if value is not None
    }
    _refuse_conflicts(given)
    _check_certificates(given)
    return Parameters(**given)


def _refuse_conflicts(given: Mapping[str, Any]) -> None:
    if "url" in given:
        _refuse_together("url", "the others", given, _IN_URL)
        _refuse_conflicts_in_url(given)
    elif not given.get("ssl"):
        _refuse_alone("ssl=True", given, CERTIFICATES)
    if "sentinels" in given:
        _refuse_together("sentinels", "the others", given, ("host", "port"))
        if "service_name" not in given:
            raise SettingsError("sentinels is set without service_name; set both.")
        if given.get("cluster"):
            raise SettingsError("sentinels and cluster are both set; set one of them.")
    else:
        _refuse_alone("sentinels", given, _SENTINEL)
    if "ssl_certfile" not in given:
        _refuse_alone("ssl_certfile", given, ("ssl_keyfile",))


def _refuse_conflicts_in_url(given: Mapping[str, Any]) -> None:
    try:
        split = urlsplit(given["url"])
    except ValueError:
        return  # connecting reports it
    if split.scheme != "rediss":
        _refuse_alone("rediss:// in url", given, CERTIFICATES)
    twice = sorted(given.keys() & parse_qs(split.query).keys())
    if twice:
        raise SettingsError(
            f"{', '.join(twice)}: set by the url's options and beside it; set one of them."
        )


def _refuse_together(name: str, rest: str, given: Mapping[str, Any], names: Iterable[str]) -> None:
    others = [other for other in names if other in given]
    if others:
        raise SettingsError(
            f"{name} and {', '.join(others)} are both set; set either the {name} or {rest}."
        )


def _refuse_alone(wanted: str, given: Mapping[str, Any], names: Iterable[str]) -> None:
    alone = [name for name in names if name in given]
    if alone:
        raise SettingsError(f"{', '.join(alone)}: set without {wanted}; set that too, or neither.")


def _check_certificates(given: Mapping[str, Any]) -> None:
    """Raises if OpenSSL cannot load the certificate files."""
    authorities, certificate = given.get("ssl_ca_certs"), given.get("ssl_certfile")
    if not (authorities or certificate):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # does not load the system's authorities
    if authorities:
        _try_file("ssl_ca_certs", lambda: context.load_verify_locations(authorities))
    if certificate:
        key = given.get("ssl_keyfile")
        named = "ssl_certfile and ssl_keyfile" if key else "ssl_certfile"
        # Without this, OpenSSL prompts for a password on the terminal.
        _try_file(named, lambda: context.load_cert_chain(certificate, key, password=lambda: b""))


def _try_file(named: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "not PEM"
        raise SettingsError(
            f"{named} cannot be used ({why}); set files in PEM format, and a key without password."
        ) from None


def _read_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{name} must be text, not {type(value).__name__}.")
    return value


def _read_file(name: str, value: Any) -> str:
    path = Path(_read_text(name, os.fspath(value) if isinstance(value, os.PathLike) else value))
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise SettingsError(
            f"{name} cannot be read ({path}: {error.strerror}); set the path of a file."
        ) from None


def _read_int(name: str, value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise SettingsError(f"{name} must be a whole number, not {value!r}.") from None
    if number < 0 or (name == "port" and not 1 <= number <= 65535):
        raise SettingsError(f"{name} must not be {number}.")
    return number


def _read_seconds(name: str, value: Any) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    least = "0 or more" if name == "retry_timeout" else "more than 0"
    if not 0 <= seconds < math.inf or (seconds == 0 and name != "retry_timeout"):
        raise SettingsError(f"{name} must be a number of seconds, {least}, not {value!r}.")
    return seconds


_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def _read_flag(name: str, value: Any) -> bool:
    flag = _FLAGS.get(str(value).lower())
    if flag is None:
        raise SettingsError(f"{name} must be true or false, not {value!r}.")
    return flag


def _read_addresses(name: str, value: Any) -> tuple[Address, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise SettingsError(f"{name} must be addresses such as 'host1:26379,host2:26379'.")
    return tuple(_read_address(name, part) for part in parts)


def _read_address(name: str, value: Any) -> Address:
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str):
        return value[0], _read_int("port", value[1])
    try:
        split = urlsplit(f"//{value.strip()}")
        host, port = split.hostname, split.port
    except (AttributeError, ValueError):
        host = port = None
    if not host or split.path or "@" in split.netloc:
        raise SettingsError(f"{name} must be addresses such as 'host1:26379,host2:26379'.")
    return host, SENTINEL_PORT if port is None else port


_READERS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(NAMES, _read_text),
    **dict.fromkeys(("port", "db", "retries"), _read_int),
    **dict.fromkeys(("ssl", "ssl_check_hostname", "cluster"), _read_flag),
    **dict.fromkeys(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), _read_file),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout", "retry_timeout"), _read_seconds),
    "sentinels": _read_addresses,
}
