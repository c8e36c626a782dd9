"""Checks that a server supports an index, before it is created."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import redis

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.refusals import Refusal, recognise
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.engine.protocol.commands import create, drop
from fiftyone_redis.engine.schema.options import IndexOptions
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import UnsupportedServerError


def require_support(client: Client, wanted: IndexOptions) -> None:
    """Raises unless the server supports an index; may create and drop an empty one to find out.

    Raises:
        UnsupportedServerError: if it does not support the index's type or algorithm
        FiftyOneRedisError: if the server does not answer
    """
    found = client.get_capabilities()
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


def _has_svs(client: Client) -> bool:
    """Returns whether a server was built with SVS-VAMANA; the first call creates an empty index.

    That index has a unique name and prefix, and is dropped at once. If this user may not create it,
    the answer is True: creating the wanted index then shows which permission is missing.
    """
    found = client.get_capabilities()
    if found.svs is None:
        name = f"fiftyone-probe~{secrets.token_hex(4)}"
        options = ("SKIPINITIALSCAN",)
        probe = Schema(name, 4, algorithm="SVS-VAMANA", prefix=f"{name}~:", options=options)
        node: Any = client.pick_node()
        with translate_errors(node.address):
            try:
                node.execute_command(*create(probe))
                node.execute_command(*drop(name, documents=False))
            except redis.exceptions.NoPermissionError:
                return True
            except redis.ResponseError as error:
                if recognise(str(error)) is not Refusal.NO_SVS:
                    raise
                found = replace(found, svs=False)
            else:
                found = replace(found, svs=True)
        client.known_capabilities = found
    return bool(found.svs)
