"""An index's definition, as the server has it: read, confirmed, and followed if others change it.

Others may rebuild an index, or drop it and make it anew, while a handle of it is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.deadline import HandshakeTimeout
from fiftyone_redis.engine.documents import reading
from fiftyone_redis.engine.documents.documents import Documents
from fiftyone_redis.engine.lifecycle import lease, switching
from fiftyone_redis.engine.lifecycle.lease import Lease
from fiftyone_redis.engine.lifecycle.records import Record, read_record, read_state
from fiftyone_redis.engine.protocol import aliases, commands, existing_index, index_info, replies
from fiftyone_redis.engine.protocol.indexing import wait_until_indexed
from fiftyone_redis.engine.protocol.replies import Hit
from fiftyone_redis.engine.schema.options import UNREPORTED
from fiftyone_redis.engine.schema.schema import FIFTYONE_ID, Schema
from fiftyone_redis.errors import (
    FiftyOneRedisError,
    IndexChangedError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    ServerError,
)

SIGNS_OF_CHANGE = (IndexMismatchError, IndexNotFoundError, InputError, ServerError)
"""What work on an index may fail with since others have changed it."""

_MOST_CHANGES = 10  # of an index by others, during one piece of work
_REMEMBERED_SECONDS = 60.0
_NEW_SECONDS = 1.0  # in which an index that was just made is not looked for before it is filled
_SAMPLE = 64
_LARGE = 10_000  # documents of a graph, from which on FT.INFO takes longer than a search
_TRUST = 5e-6  # seconds for each document: about 20 times as long as FT.INFO takes

T = TypeVar("T")


class Definition:
    """What is known of an index.

    Args:
        documents: the documents of the index
        alias: the name that survives a rebuild: its alias, or its own name if it has none
        identity: what tells the index from others of its name: its own name alone if it was just
            made; empty for one that was neither made nor opened here, which is not confirmed
    """

    def __init__(self, documents: Documents, alias: str, identity: tuple[Any, ...] = ()) -> None:
        self.documents = documents
        self.alias = alias
        self.identity = identity
        self._made_at = time.monotonic()
        self._trusted = 0.0, 0.0  # from when until when
        self._estimates: dict[Any, tuple[float, Any]] = {}

    @property
    def client(self) -> Client:
        """The client of the server."""
        return self.documents.client

    @property
    def schema(self) -> Schema:
        """The schema of the index, as it was when it was last read."""
        return self.documents.schema

    @schema.setter
    def schema(self, schema: Schema) -> None:
        self.documents = Documents(self.client, schema)

    def refresh(self) -> None:
        """Reads the definition again, but for what only queries know of.

        Raises:
            IndexNotFoundError: if the index is gone
        """
        known = self.schema
        # FiftyOne's own field of ids is found where it is; as HASHes, documents have none.
        is_own = known.storage == "JSON" and known.id_field == FIFTYONE_ID
        found = open_index(
            self.client,
            known.name,
            vector_field=known.vector_name,
            id_field=None if is_own else known.id_field,
            tags=known.tags,
        )
        unread = {name: getattr(known, name) for name in UNREPORTED}
        self.schema = replace(found.schema, **unread)
        self.alias = found.alias
        self.identity = found.identity
        self._trusted = 0.0, 0.0
        self.forget()

    def confirm(self, reply: Any = None, *, must_be_complete: bool = True) -> None:
        """Makes sure that the index is what it was when its definition was read, and is complete.

        Args:
            reply: what FT.INFO says of it now; it is asked if that is None
            must_be_complete: whether all documents must be indexed; writing needs no complete index

        Raises:
            IndexNotFoundError: if it is gone
            IndexChangedError: if it is not
        """
        if not self.identity:
            return
        if reply is None:
            reply = self.client.execute(*commands.info(self.schema.name))
        found = index_info.read_identity(reply)
        is_same = found[: len(self.identity)] == self.identity
        indexing = index_info.read_indexing(reply) if must_be_complete else None
        if not is_same or not (indexing is None or indexing.is_complete):
            raise IndexChangedError(
                f"The index {self.schema.name!r} was rebuilt or recreated by another process "
                "during this call; try again."
            )
        self.identity = found
        if indexing is not None:
            self._trust(indexing.documents)

    def is_confirmed(self) -> bool:
        """Returns whether the index was confirmed so shortly ago that a search needs no other look.

        FT.INFO takes as long as hundreds of searches of a large graph, so it goes with few of them.
        What happens in between shows: after a rebuild the former index is dropped, so that searches
        by its own name fail; and a server that restarts ends the connections.
        """
        since, until = self._trusted
        return HandshakeTimeout.last_made_at < since <= time.monotonic() < until

    def _trust(self, documents: int) -> None:
        has_own_name = self.schema.server_name != self.alias
        is_slow = self.schema.algorithm != "FLAT" and documents >= _LARGE
        now = time.monotonic()
        self._trusted = (now, now + documents * _TRUST) if has_own_name and is_slow else (0.0, 0.0)

    def follow(self, error: FiftyOneRedisError, changes: int) -> int:
        """Reads the definition again, so that work that failed is repeated, if it has changed.

        Args:
            error: one of :data:`SIGNS_OF_CHANGE`, with which the work failed
            changes: how often the index had changed before, during the same work

        Returns:
            how often it has changed now

        Raises:
            IndexNotFoundError: if the index is gone
            FiftyOneRedisError: that error, if the index has not changed, or changes again and again
        """
        is_sure = isinstance(error, IndexChangedError | IndexNotFoundError)
        if changes == _MOST_CHANGES or not (is_sure or self._is_changed()):
            raise error
        self.refresh()
        return changes + 1

    def read(self, read: Callable[[Documents], T]) -> T:
        """Reads documents; does it again if the index has become another one meanwhile."""
        changes = 0
        while True:
            try:
                found = read(self.documents)
                self.confirm()
                return found
            except SIGNS_OF_CHANGE as error:
                changes = self.follow(error, changes)

    def walk(self, read: Callable[[Documents], Iterator[T]]) -> Iterator[T]:
        """Reads documents in pages.

        Raises:
            IndexChangedError: at the end, if others rebuilt the index in the meantime
        """
        self.read(lambda _: None)  # others may have rebuilt it long before
        yield from read(self.documents)
        self.confirm()

    def write(self, write: Callable[[Documents], T]) -> T:
        """Changes documents; does it again if the index was rebuilt or recreated meanwhile.

        While another process rebuilds the index, this waits. What was written beside a rebuild may
        be missing from the new index, so it counts only if no rebuild had begun when it was done.

        Raises:
            IndexNotFoundError: if the index is gone
        """
        changes = 0
        while True:
            self.forget()
            try:
                self.settle()
                if not self._is_new():
                    self.confirm(must_be_complete=False)
                done = write(self.documents)
                if self._is_settled():
                    self.confirm(must_be_complete=False)
                    return done
            except SIGNS_OF_CHANGE as error:
                changes = self.follow(error, changes)

    def settle(self) -> None:
        """Waits until no other process rebuilds the index; finishes a switch that was interrupted.

        Raises:
            IndexNotFoundError: if the index is gone
        """
        is_logged = False
        while True:
            is_leased, record = read_state(self.client, self.alias)
            if not is_leased:
                break
            if not is_logged:
                lease.log_waiting(self.alias)
                is_logged = True
            time.sleep(lease.POLL)
        self.finish_switch(record)

    @contextmanager
    def hold_lease(self, *, patient: bool = True) -> Iterator[Lease]:
        """Holds the lease of the index, and reads what it is by then; see :func:`lease.hold`."""
        self.refresh()
        with lease.hold(self.client, self.alias, patient=patient) as held:
            self.finish_switch(read_record(self.client, self.alias))
            self.refresh()
            yield held

    def finish_switch(self, record: Record) -> None:
        """Finishes a switch to another index that was decided, and follows it."""
        switch = record.switch
        if switch is not None and switch.new != self.schema.server_name:
            with suppress(IndexChangedError):  # others were faster
                switching.finish_switch(self.client, self.alias, record)
            self.refresh()

    def _is_new(self) -> bool:
        """Returns whether the index was made just now, and not looked at since."""
        age = time.monotonic() - self._made_at
        return len(self.identity) == 1 and age < _NEW_SECONDS

    def _is_settled(self) -> bool:
        is_leased, record = read_state(self.client, self.alias)
        is_decided = record.switch is not None and record.switch.new != self.schema.server_name
        return not is_leased and not is_decided

    def size(self) -> int:
        """Returns about how many documents there are: what the server said in the last minute."""
        return self._estimated(reading.count_documents)

    def sample(self) -> list[Hit]:
        """Returns a few documents, which were drawn in the last minute."""
        return self._estimated(reading.sample_documents)

    def forget(self) -> None:
        """Forgets the size and the sample, since documents or the index are being changed."""
        self._estimates.clear()

    def _is_changed(self) -> bool:
        try:
            self.confirm()
        except IndexChangedError:
            return True
        return False

    def _estimated(self, read: Callable[[Documents], T]) -> T:
        now = time.monotonic()
        known = self._estimates.get(read)
        if known is None or now - known[0] > _REMEMBERED_SECONDS:
            known = self._estimates[read] = now, read(self.documents)
        found: T = known[1]
        return found


def open_index(
    client: Client,
    name: str,
    *,
    vector_field: str | None = None,
    id_field: str | None = None,
    tags: Sequence[str] | None = None,
) -> Definition:
    """Reads the definition of an index that exists; see :meth:`VectorIndex.open`."""
    reply = describe(client, name)
    info = index_info.read_info(reply)
    some_keys: list[str] = []
    if existing_index.may_lack_separator(info["index_definition"]["prefixes"]):
        found = client.execute(*commands.some_keys(info["index_name"], _SAMPLE))
        some_keys = replies.read_some_keys(found)
    schema = index_info.read_schema(
        info, vector_field=vector_field, id_field=id_field, tags=tags, keys=some_keys
    )
    schema = replace(schema, name=name, server_name=info["index_name"])
    documents = Documents(client, schema)
    documents.keys.require_id_field()
    alias = aliases.find_stable_name(client, name, schema.server_name)
    return Definition(documents, alias, index_info.read_identity(reply))


def describe(client: Client, name: str) -> Any:
    """Returns what FT.INFO says of an index, once it has all its documents.

    Raises:
        IndexNotFoundError: if there is none of that name
    """
    while True:
        try:
            return wait_until_indexed(client, name)
        except IndexNotFoundError:
            if not switching.await_switch(client, name):
                raise
