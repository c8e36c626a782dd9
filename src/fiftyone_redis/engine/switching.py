"""Points the names of an index at a complete new index, and drops the old one.

An index made by others or by version 0.1.0 has no alias. It is dropped, and an alias of its name is
added, in one transaction. In a cluster these commands have no transaction: searches in between
wait (:func:`await_switch`).

Every step can be repeated, by this process or by another one that finds the record.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import redis

from fiftyone_redis.connection import wire
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.pool import borrow_connection
from fiftyone_redis.connection.retry import Attempts
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.engine import aliases, commands
from fiftyone_redis.engine.records import Switch, read_record
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError

_GAP_SECONDS = 1.0
_POLL_SECONDS = 0.02

# FiftyOne configures loggers under its own name, so this one is shown too.
logger = logging.getLogger("fiftyone." + __name__)


def finish_switch(client: Client, switch: Switch) -> None:
    """Does what a switch that was decided takes; passes over what is done already.

    Raises:
        IndexNotFoundError: if the new index was dropped in the meantime
    """
    for name in switch.names:
        if name != switch.old:
            client.execute(*commands.move_alias(name, switch.new))
    if switch.old in switch.names:
        _replace_with_alias(client, switch)
    else:
        drop(client, switch.old, documents=switch.drops_documents)


def await_switch(client: Client, alias: str) -> bool:
    """Waits until an alias points at an index again; finishes an interrupted switch.

    In a cluster, an index without an alias is dropped before the alias is added. Whoever opens the
    index in that moment waits here, and adds the alias if nobody else does.

    Returns:
        whether the alias points at an index now
    """
    switch = read_record(client, alias).switch
    if switch is None:
        return False
    deadline = time.monotonic() + _GAP_SECONDS
    while time.monotonic() < deadline:
        if aliases.find_index(client, alias) is not None:
            return True
        time.sleep(_POLL_SECONDS)
    try:
        client.execute(*commands.add_alias(alias, switch.new))
    except IndexNotFoundError:
        return False
    except IndexMismatchError:
        return True  # another process was faster
    logger.warning("Finished an interrupted rebuild of the index %r", alias)
    return True


def drop(client: Client, name: str, *, documents: bool) -> None:
    """Drops an index if it exists."""
    try:
        client.execute(*commands.drop(name, documents))
    except IndexNotFoundError:
        return


def _replace_with_alias(client: Client, switch: Switch) -> None:
    """Replaces an index with an alias of the same name; both cannot exist at once."""
    old, new = switch.old, switch.new
    if aliases.find_index(client, old) == new:
        return
    if client.is_cluster:
        drop(client, old, documents=switch.drops_documents)
        client.execute(*commands.add_alias(old, new))
        return
    steps = [commands.drop(old, switch.drops_documents), commands.add_alias(old, new)]
    transaction: list[wire.Command] = [["MULTI"], *steps, ["EXEC"]]
    request = b"".join(wire.pack(command) for command in transaction)
    attempts = Attempts(client.retry_policy)
    with translate_errors(client.address):
        while True:
            try:
                _execute_transaction(client.pick_node(), request, len(transaction))
            except redis.RedisError as error:
                # Raises unless the connection was lost.
                client.wait_and_recover(attempts, error)
                if aliases.find_index(client, old) == new:
                    return  # only the reply was lost
            else:
                return


def _execute_transaction(client: redis.Redis, request: bytes, count: int) -> None:
    """Sends MULTI, some commands and EXEC in one request; raises the first error of any of them."""
    answers: list[Any] = []
    with borrow_connection(client) as connection:
        connection.send_packed_command([request])
        while len(answers) < count:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
    executed = answers.pop()
    answers += executed if isinstance(executed, list) else [executed]
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            raise answer
