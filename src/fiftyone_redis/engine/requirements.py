"""Checks that a server supports an index, before it is created."""

from __future__ import annotations

import secrets
from typing import Any

import redis

from fiftyone_redis.connection import capabilities as known
from fiftyone_redis.connection.capabilities import get_capabilities
from fiftyone_redis.connection.pool import read_address
from fiftyone_redis.connection.refusals import Refusal, recognise
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.engine.commands import create, drop
from fiftyone_redis.engine.options import IndexOptions
from fiftyone_redis.engine.schema import Schema
from fiftyone_redis.errors import UnsupportedServerError


def require_support(client: Any, wanted: IndexOptions) -> None:
    """Raises unless the server supports an index; may create and drop an empty one to find out.

    Raises:
        UnsupportedServerError: if it does not support the index's type or algorithm
        FiftyOneRedisError: if the server does not answer
    """
    found = get_capabilities(client)
    for setting, supported in (("dtype", found.dtypes), ("algorithm", found.algorithms)):
        value = getattr(wanted, setting)
        if value not in supported:
            raise UnsupportedServerError(
                f"This server ({found}) does not support {setting} {value!r}; use one of "
                f"{', '.join(supported)}, or a newer server."
            )
    if wanted.algorithm == "SVS-VAMANA" and not _has_svs(client):
        raise UnsupportedServerError(
            f"This server ({found}) was built without SVS-VAMANA; use FLAT or HNSW."
        )


def _has_svs(client: Any) -> bool:
    """Returns whether a server was built with SVS-VAMANA; the first call creates an empty index.

    That index has a unique name and prefix, and is dropped at once. If this user may not create it,
    the answer is True: creating the wanted index then shows which permission is missing.
    """
    found = get_capabilities(client)
    if found.svs is None:
        name = f"fiftyone-probe~{secrets.token_hex(4)}"
        options = ("SKIPINITIALSCAN",)
        probe = Schema(name, 4, algorithm="SVS-VAMANA", prefix=f"{name}~:", options=options)
        node = known.pick_node(client)
        with translate_errors(read_address(node.connection_pool.connection_kwargs)):
            try:
                node.execute_command(*create(probe))
                node.execute_command(*drop(name, documents=False))
            except redis.exceptions.NoPermissionError:
                return True
            except redis.ResponseError as error:
                if recognise(str(error)) is not Refusal.NO_SVS:
                    raise
                found = known.record_svs(client, False)
            else:
                found = known.record_svs(client, True)
    return bool(found.svs)
