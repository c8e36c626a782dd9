"""What a rebuild or drop leaves behind if it is interrupted: a small key beside the index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.parsing import parsing
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import AuthenticationError


@dataclass(frozen=True)
class Switch:
    """The replacement of an index by a complete new one. It is decided, and will be finished.

    Args:
        old: the name of the old index
        new: the name of the new index
        names: the alias of the index, and the name that users passed
        drops_documents: whether the documents of the old index go with it
    """

    old: str
    new: str
    names: tuple[str, ...]
    drops_documents: bool


@dataclass(frozen=True)
class Removal:
    """The removal of all documents of an index that is dropped.

    Args:
        prefix: the prefix of their keys
        storage: one of :data:`~fiftyone_redis.engine.schema.schema.STORAGES`
        vector_field: the field that holds the vector
    """

    prefix: str
    storage: str
    vector_field: str


@dataclass(frozen=True)
class Record:
    """What a rebuild or drop would leave behind if it were interrupted now.

    Args:
        switch: the switch to the new index, once it is decided
        fields: vector fields of the documents, with their types; all but one must be removed
        removal: the removal of the documents, once the index is about to be dropped
        text: what the server holds, if it was read from there
    """

    switch: Switch | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    removal: Removal | None = None
    text: str = field(default="", compare=False)

    def to_json(self) -> str:
        """Returns the record as text."""
        held = asdict(self)
        return held.pop("text") or json.dumps(held)


def make_fence(client: Client, alias: str, record: Record) -> Fence:
    """Returns a fence that lets changes pass while the record is the current one."""
    return Fence(client, commands.record_key(alias), record.to_json())


def write_record(fence: Fence, alias: str, record: Record) -> None:
    """Stores what would be left behind if this process were killed from now on."""
    fence.execute("SET", commands.record_key(alias), record.to_json())


def read_record(client: Client, alias: str) -> Record:
    """Reads the record of a running or interrupted change; an empty record if there is none."""
    try:
        return _parse(client.execute("GET", commands.record_key(alias)))
    except AuthenticationError:
        return Record()  # this user may only search


def read_state(client: Client, alias: str) -> tuple[bool, Record]:
    """Reads whether a process holds the lease of an alias, and the record, in one step."""
    owner, record = client.execute(*commands.state(alias))
    return owner is not None, _parse(record)


def remove_record(fence: Fence, alias: str) -> None:
    """Removes the record, once nothing is left behind."""
    fence.execute("UNLINK", commands.record_key(alias))


def _parse(found: Any) -> Record:
    if found is None:
        return Record()
    with parsing("GET", found):
        known = json.loads(found)
        switch, removal = known.get("switch"), known.get("removal")
        return Record(
            switch and Switch(**{**switch, "names": tuple(switch["names"])}),
            known.get("fields", {}),
            removal and Removal(**removal),
            wire.to_text(found),
        )
