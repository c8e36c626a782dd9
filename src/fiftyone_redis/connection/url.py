"""Reads URLs as redis-py does, and names what is wrong with one without repeating it.

Which options a URL may have, and their types, is read from redis-py, whose versions differ.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

import redis
from redis.connection import URL_QUERY_ARGUMENT_PARSERS

from fiftyone_redis.connection.pool import Pool
from fiftyone_redis.connection.secret import MASK
from fiftyone_redis.connection.tls import TlsConnection
from fiftyone_redis.errors import SettingsError, list_first, list_unknown

_UNREADABLE = (
    "The url cannot be read; it must look like redis://host:6379, rediss://host:6379 or "
    "unix:///path/to/redis.sock, with special characters of a password written as %xx."
)

# Options that take Python objects, although some versions of redis-py do not annotate them so.
_OBJECTS = ("socket_keepalive_options", "socket_type", "ssl_ocsp_context", "ssl_min_version")

_TEXT = re.compile(r"\b(str|int|float|bool)\b")
_SECRET_NAME = re.compile(r"pass|secret|data", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.:/%\[\]-]*")
_OPTION_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)*")


def parse_url(url: str) -> dict[str, Any]:
    """Returns redis-py's connection options for a URL.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with options that redis-py knows

    Raises:
        SettingsError: if it cannot be read, or has an option that is unknown, contradicts this
            package, or has a value of the wrong type; values are never repeated
    """
    query = _parse_query(url)
    kind = _get_connection_class(url)
    if query is None:
        raise SettingsError(_UNREADABLE)
    known = find_options(kind)
    unknown = sorted(query.keys() - known)
    if _is_query_of_password(url, known):
        raise SettingsError(_UNREADABLE)
    if unknown:
        raise SettingsError(_explain_unknown(unknown, known, kind))
    if "retry_on_error" in query:
        raise SettingsError(
            "The url's retry_on_error cannot be set; set retries and retry_timeout beside the url."
        )
    wrong = [name for name, values in query.items() if not _is_usable(kind, name, values[0])]
    if wrong:
        raise SettingsError(
            f"The url's {list_first(sorted(wrong))} cannot be used; correct the value, which "
            f"redis-py {redis.__version__} does not accept."
        )
    return {**redis.connection.parse_url(url), "connection_class": kind}


def find_options(kind: type[Any]) -> set[str]:
    """Returns the names of the options that redis-py takes in a URL.

    Args:
        kind: the class of the connections
    """
    makers = [vars(each).get("__init__") for each in (*kind.__mro__, redis.ConnectionPool)]
    signatures = [inspect.signature(each) for each in makers if each is not None]
    taken = {name: each for one in signatures for name, each in one.parameters.items()}
    public = inspect.signature(redis.Redis.__init__).parameters
    return {
        name
        for name, each in taken.items()
        if name in URL_QUERY_ARGUMENT_PARSERS or (name in public and _takes_text(each))
    }


def show_url(url: str) -> str:
    """Returns a URL with its secrets masked; masks all of it if it cannot be read.

    A username without a password is masked too, as it may be the password.
    """
    found = re.fullmatch(r"(\w+://)(?:([^/@?#:]*)(:[^/@?#]*)?@)?([^@?#]*)(\?[^@#]*)?", url)
    try:
        options = parse_url(url)
    except SettingsError:
        return MASK
    is_socket = "path" in options
    if found is None or not _PLAIN.fullmatch(found[4]):
        return MASK
    if not (is_socket or re.fullmatch(r"[^/]*(/\d*)?", found[4])):
        return MASK
    scheme, user, password, place, query = found.groups(default="")
    login = f"{user}:{MASK}@" if password else f"{MASK}@" if user else ""
    shown = "&".join(_show_option(option, options) for option in query[1:].split("&"))
    return f"{scheme}{login}{place}" + (f"?{shown}" if query else "")


def _show_option(option: str, known: Container[str]) -> str:
    name, _, value = option.partition("=")
    if name not in known:
        return MASK
    is_plain = _PLAIN.fullmatch(value) and not _SECRET_NAME.search(name)
    return f"{name}={value if is_plain else MASK}"


def _parse_query(url: str) -> Mapping[str, list[str]] | None:
    """Returns the options in a URL; None if the URL cannot be read."""
    try:
        split = urlsplit(url)
        _ = split.port
        query = parse_qs(split.query)
    except ValueError:
        return None
    is_known = url.startswith(("redis://", "rediss://", "unix://"))
    return query if is_known and not _is_cut_short(split) else None


def _is_cut_short(split: SplitResult) -> bool:
    """Returns whether a password with an unescaped "/" or "#" ended the host part early."""
    is_path_of_socket = split.scheme == "unix" and not split.netloc
    return "@" in split.fragment or ("@" in split.path and not is_path_of_socket)


def _is_query_of_password(url: str, known: set[str]) -> bool:
    """Returns whether the options may be the rest of a password with an unescaped "?"."""
    options = urlsplit(url).query
    names = {option.partition("=")[0] for option in options.split("&")}
    return "@" in options and not names <= known


def _get_connection_class(url: str) -> type[Any]:
    if url.startswith("unix:"):
        return redis.UnixDomainSocketConnection
    return TlsConnection if url.startswith("rediss:") else redis.Connection


def _takes_text(parameter: inspect.Parameter) -> bool:
    """Returns whether text can be the value of an option, or can be converted to it."""
    if parameter.name in _OBJECTS:
        return False
    if parameter.annotation is not parameter.empty:
        return bool(_TEXT.search(str(parameter.annotation)))
    return parameter.default is None or isinstance(parameter.default, str | int | bool)


def _explain_unknown(unknown: Iterable[str], known: set[str], kind: type[Any]) -> str:
    """Returns the message for unknown options; what does not look like a name is not repeated."""
    tls = find_options(TlsConnection) if kind is redis.Connection else set()
    needing = [name for name in unknown if name in tls]
    if needing:
        return f"{list_first(needing)}: set without rediss:// in url; set that too, or neither."
    shown = [name for name in unknown if _OPTION_NAME.fullmatch(name)]
    named = f": {list_unknown(shown, known)}" if shown else ""
    return (
        f"The url has options that redis-py {redis.__version__} does not take in one{named}; "
        "correct them, or set this package's own settings beside the url."
    )


def _is_usable(kind: type[Any], name: str, value: str) -> bool:
    """Returns whether redis-py can make a connection with the value of an option."""
    needed = {"path": ""} if kind is redis.UnixDomainSocketConnection else {}
    try:
        parsed = redis.connection.parse_url(f"redis://?{urlencode({name: value})}")
        pool = Pool(connection_class=kind, **needed, **parsed)
        connection: Any = pool.make_connection()
        return bool(connection.encoder.encode("PING") == b"PING")
    except (AttributeError, LookupError, TypeError, ValueError, redis.RedisError):
        return False
