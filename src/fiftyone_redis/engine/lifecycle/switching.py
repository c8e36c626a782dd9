"""Points the names of an index at a complete new index, and drops the old one.

An index made by others or by version 0.1.0 has no alias. It is dropped, and an alias of its name is
added, in one script. In a cluster these commands cannot be in a script: searches in between wait
(:func:`await_switch`).

Every step can be repeated, by this process or by another one that finds the record.
"""

from __future__ import annotations

import time
from dataclasses import replace

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.wire import Command
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.lifecycle.records import Record, make_fence, read_record
from fiftyone_redis.engine.protocol import aliases, commands
from fiftyone_redis.errors import IndexMismatchError, IndexNotFoundError
from fiftyone_redis.log import get_logger

_GAP_SECONDS = 1.0
_POLL_SECONDS = 0.02

logger = get_logger(__name__)


def finish_switch(client: Client, alias: str, record: Record) -> None:
    """Does what a switch that was decided takes; passes over what is done already.

    Args:
        client: a client of the server
        alias: the alias of the index
        record: the record, which has no switch any more afterwards

    Raises:
        IndexNotFoundError: if the new index was dropped in the meantime
        IndexChangedError: if there is another record, or none: others have finished the switch
    """
    switch, fence = record.switch, make_fence(client, alias, record)
    if switch is None:
        return
    ended = replace(record, switch=None, text="").to_json()
    done: Command = ["SET", commands.record_key(alias), ended]
    for name in switch.names:
        if name != switch.old:
            fence.execute(*commands.move_alias(name, switch.new))
    if switch.old not in switch.names:
        drop(fence, switch.old, documents=switch.drops_documents)
    elif aliases.find_index(client, switch.old) != switch.new:
        # In one step with the end of this record: if it were repeated, the alias would be taken for
        # the old index, and the new one dropped.
        steps = [commands.drop(switch.old, switch.drops_documents)]
        fence.execute_all([*steps, commands.add_alias(switch.old, switch.new), done])
        return
    fence.execute(*done)


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


def drop(by: Client | Fence, name: str, *, documents: bool) -> None:
    """Drops an index if it exists, and if a fence allows it."""
    command = commands.drop(name, documents)
    try:
        if isinstance(by, Fence):
            by.execute(*command)
        else:
            by.execute(*command)
    except IndexNotFoundError:
        return
