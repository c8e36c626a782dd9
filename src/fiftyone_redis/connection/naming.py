"""The names of an index: the alias that people use, and the index's own name behind it.

Every index that is made here gets a name of its own, ``birds~1a2b3c4d``, behind the alias
``birds``.
"""

from __future__ import annotations

import re
import secrets

SEPARATOR = "~"
"""Stands in an index's own name behind the alias."""

# Version 0.1.0 numbered the indexes that its rebuilds made.
_OWN_NAME = re.compile(rf"(.+){SEPARATOR}([0-9a-f]{{8}}|[0-9]{{1,7}})")


def make_index_name(alias: str) -> str:
    """Returns a new name for an index behind an alias, which no other index has."""
    return f"{alias}{SEPARATOR}{secrets.token_hex(4)}"


def get_alias(name: str) -> str:
    """Returns the alias that the index of a certain name is made for; that name if it is none."""
    match = _OWN_NAME.fullmatch(name)
    return match[1] if match else name
