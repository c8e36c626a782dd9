"""One error for replies that make no sense, wherever they are parsed. No sockets.

Proxies, forks of Redis and versions to come may reply with something else than what is documented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fiftyone_redis.errors import FiftyOneRedisError, ProtocolError

P = ParamSpec("P")
T = TypeVar("T")

_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_SHOWN = 80


@contextmanager
def parsing(command: str, reply: Any = None) -> Iterator[None]:
    """Turns errors of parsing in a ``with`` block into one error of this package.

    Args:
        command: the command that the reply is to
        reply: the reply, whose beginning is shown; None if there is none to show

    Raises:
        ProtocolError: instead of any error that parsing a malformed reply raises
    """
    try:
        yield
    except FiftyOneRedisError:
        raise
    except _MALFORMED as error:
        shown = "" if reply is None else f": {repr(reply)[:_SHOWN]}"
        raise ProtocolError(
            f"The reply to {command} makes no sense ({type(error).__name__}){shown}; check that "
            "what answers is a Redis of a supported version, and that no proxy changes its replies."
        ) from error


def parses(command: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function that parses its first argument, a reply; see :func:`parsing`.

    Args:
        command: the command that the reply is to
    """

    def decorate(parse: Callable[P, T]) -> Callable[P, T]:
        @wraps(parse)
        def parse_or_explain(*args: P.args, **kwargs: P.kwargs) -> T:
            with parsing(command, args[0] if args else None):
                return parse(*args, **kwargs)

        return parse_or_explain

    return decorate
