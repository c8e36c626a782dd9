"""Connection parameters: their types, checks and conflicts. No sockets.

Names follow redis-py and FiftyOne's own backend where they have the parameter.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any
from urllib.parse import urlsplit

from fiftyone_redis.connection.secret import MASK, Secret, reveal
from fiftyone_redis.connection.url import parse_url, show_url
from fiftyone_redis.errors import SettingsError, list_unknown

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection."""

SENTINEL_PORT = 26379
"""The default port of a sentinel."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Parameters:
    """How to reach a server. None means not set.

    Secrets are kept as :class:`~fiftyone_redis.connection.secret.Secret`; copies keep them, pickles
    do not.

    Args:
        url: ``redis://``, ``rediss://`` (with TLS) or ``unix://``; replaces host, port, db,
            username, password and ssl
        host: the server's name or address
        port: its TCP port
        db: its database; only 0 can be indexed
        username: the user to log in as; by default Redis's ``default``
        password: that user's password
        ssl: whether to use TLS
        ssl_ca_certs: a PEM file of the certificate authorities to trust besides the system's
        ssl_certfile: a PEM file with this client's certificate
        ssl_keyfile: a PEM file with the certificate's private key, if ssl_certfile lacks it; set a
            key's password as ``ssl_password`` in the url
        ssl_check_hostname: whether the server's certificate must match its host name
        socket_timeout: seconds to wait for a reply; a search waits for ``query_timeout`` and 5
            seconds if that is less
        socket_connect_timeout: seconds to wait for a connection, including TLS
        sentinels: the addresses of the sentinels: ``host1:26379,host2:26379``, or a list
        service_name: the service name that the sentinels monitor
        sentinel_username: the user to log in to the sentinels as
        sentinel_password: that user's password
        cluster: whether the server is a Redis Cluster node; by default, the server is asked
        retries: the most retries of one operation, 0 or more
        retry_timeout: the time budget for retries in seconds, 0 or more
    """

    url: Secret | str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None
    db: int | None = None
    username: str | None = None
    password: Secret | str | None = field(default=None, repr=False)
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
    sentinel_password: Secret | str | None = field(default=None, repr=False)
    cluster: bool | None = None
    retries: int | None = None
    retry_timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("url", "password", "sentinel_password"):
            value = getattr(self, name)
            if isinstance(value, str):
                shown = show_url(value) if name == "url" else MASK
                object.__setattr__(self, name, Secret(value, shown))


NAMES = tuple(f.name for f in fields(Parameters))
"""The names of the parameters."""

SECRETS = frozenset(f.name for f in fields(Parameters) if not f.repr)
"""The parameters whose values are, or contain, secrets."""

CERTIFICATES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
"""The parameters that need TLS."""

SENTINEL = ("service_name", "sentinel_username", "sentinel_password")
IN_URL = ("host", "port", "db", "username", "password", "ssl", "sentinels", *SENTINEL)


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
        raise SettingsError(f"Unknown connection parameters: {list_unknown(unknown, NAMES)}.")
    given = {name: _read(name, value) for name, value in values.items() if value is not None}
    in_url = parse_url(given["url"]) if "url" in given else {}
    for name in in_url.keys() & set(NAMES):
        _read(name, in_url[name])
    _refuse_conflicts(given, in_url)
    _check_certificates(given, in_url.get("ssl_password"))
    return Parameters(**given)


def show(name: str, value: Any) -> str:
    """Returns a parameter's value as text, with secrets masked.

    A value that is not valid is masked too: it may be a secret in the wrong place.
    """
    if name in SECRETS - {"url"}:
        return MASK
    try:
        _read(name, value)
    except SettingsError:
        return MASK
    return show_url(value) if name == "url" else str(value)


def _refuse_conflicts(given: Mapping[str, Any], in_url: Mapping[str, Any]) -> None:
    if "url" in given:
        _refuse_together("url", "the others", given, IN_URL)
        if not given["url"].startswith("rediss:"):
            _refuse_alone("rediss:// in url", given, CERTIFICATES)
        twice = sorted(given.keys() & in_url.keys())
        if twice:
            raise SettingsError(
                f"{', '.join(twice)}: set by the url's options and beside it; set one of them."
            )
    elif not given.get("ssl"):
        _refuse_alone("ssl=True", given, CERTIFICATES)
    if "sentinels" in given:
        _refuse_together("sentinels", "the others", given, ("host", "port"))
        if "service_name" not in given:
            raise SettingsError("sentinels is set without service_name; set both.")
        if given.get("cluster"):
            raise SettingsError("sentinels and cluster are both set; set one of them.")
    else:
        _refuse_alone("sentinels", given, SENTINEL)
    if "ssl_certfile" not in {**given, **in_url}:
        _refuse_alone("ssl_certfile", given, ("ssl_keyfile",))


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


def _check_certificates(given: Mapping[str, Any], key_password: str | None) -> None:
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
        password = (key_password or "").encode()
        _try_file(named, lambda: context.load_cert_chain(certificate, key, lambda: password))


def _try_file(named: str, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "not PEM"
        raise SettingsError(
            f"{named} cannot be used ({why}); set files in PEM format, and a key without password, "
            "or its password as ssl_password in the url."
        ) from None


def _read(name: str, value: Any) -> Any:
    """Converts a parameter to its type.

    Raises:
        SettingsError: if it is not valid; neither the message nor a chained error has the value
    """
    read, expected = _READERS.get(name, (_read_text, "must be text"))
    try:
        return read(value)
    except OSError as error:
        expected = f"cannot be read ({error.strerror}); set the path of a file"
    except (TypeError, ValueError):
        pass
    if not isinstance(value, str):
        expected += f", not {type(value).__name__}"
    raise SettingsError(f"{name} {expected}.")


def _read_text(value: Any) -> str:
    text = reveal(value)
    if not isinstance(text, str):
        raise TypeError
    return text


def _read_host(value: Any) -> str:
    text = _read_text(value)
    if ":" in text:
        ip_address(text)
        return text
    text.encode("idna")
    return _read_name(text)


def _read_name(value: Any) -> str:
    """Reads a name; refuses what a pasted URL, and most passwords, have in them."""
    text = _read_text(value)
    if not re.fullmatch(r"[\w.-]+", text):
        raise ValueError
    return text


def _read_file(value: Any) -> str:
    path = Path(_read_text(os.fspath(value) if isinstance(value, os.PathLike) else value))
    with path.open("rb"):
        return str(path)


def _read_whole(value: Any) -> int:
    number = int(str(value))
    if number < 0:
        raise ValueError
    return number


def _read_port(value: Any) -> int:
    port = _read_whole(value)
    if not 1 <= port <= 65535:
        raise ValueError
    return port


def _read_budget(value: Any) -> float:
    seconds = float(str(value))
    if not 0 <= seconds <= TIMEOUT_MAX:
        raise ValueError
    return seconds


def _read_timeout(value: Any) -> float:
    seconds = _read_budget(value)
    if not seconds:
        raise ValueError
    return seconds


def _read_flag(value: Any) -> bool:
    flag = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if flag is None:
        raise ValueError
    return flag


def _read_addresses(value: Any) -> tuple[Address, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError
    return tuple(map(_read_address, parts))


def _read_address(value: Any) -> Address:
    if isinstance(value, list | tuple):
        host, port = value
        return _read_host(host), _read_port(port)
    split = urlsplit(f"//{_read_text(value).strip()}")
    if split.path or split.query or split.fragment or "@" in split.netloc:
        raise ValueError
    return _read_host(split.hostname), SENTINEL_PORT if split.port is None else split.port


_Reader = tuple[Callable[[Any], Any], str]
_WHOLE: _Reader = (_read_whole, "must be a whole number, 0 or more")
_FLAG: _Reader = (_read_flag, "must be true or false")
_FILE: _Reader = (_read_file, "must be text, the path of a file")
_TIMEOUT: _Reader = (_read_timeout, "must be a number of seconds, more than 0")
_READERS: dict[str, _Reader] = {
    "host": (_read_host, "must be a name or address, without login, port or redis://"),
    "port": (_read_port, "must be a whole number from 1 to 65535"),
    "db": _WHOLE,
    "ssl": _FLAG,
    "ssl_ca_certs": _FILE,
    "ssl_certfile": _FILE,
    "ssl_keyfile": _FILE,
    "ssl_check_hostname": _FLAG,
    "socket_timeout": _TIMEOUT,
    "socket_connect_timeout": _TIMEOUT,
    "sentinels": (_read_addresses, "must be addresses such as 'host1:26379,host2:26379'"),
    "service_name": (_read_name, "must be the name by which the sentinels know the server"),
    "cluster": _FLAG,
    "retries": _WHOLE,
    "retry_timeout": (_read_budget, "must be a number of seconds, 0 or more"),
}
