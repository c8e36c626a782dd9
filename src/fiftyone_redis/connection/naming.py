"""Index names: users know an alias, such as ``birds``; the index is called ``birds~1a2b3c4d``."""

from __future__ import annotations

import re
import secrets

SEPARATOR = "~"
"""Separates the alias from the random suffix in an index name."""

# Version 0.1.0 used numbers as suffixes.
_OWN_NAME = re.compile(rf"(.+){SEPARATOR}([0-9a-f]{{8}}|[0-9]{{1,7}})")


def make_index_name(alias: str) -> str:
    """Returns a new, unique name for an index behind an alias."""
    return f"{alias}{SEPARATOR}{secrets.token_hex(4)}"


def get_alias(name: str) -> str:
    """Returns the alias in an index name; a name without a suffix is returned as it is."""
    match = _OWN_NAME.fullmatch(name)
    return match[1] if match else name
