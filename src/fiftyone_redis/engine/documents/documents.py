"""Writes, reads, deletes and walks documents, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import redis

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.wire import (
    EXISTS,
    Command,
    Request,
    add_counts,
    pack_if_passed,
    pack_keyed,
    pack_unlink_if_equal,
    to_bytes,
    to_text,
)
from fiftyone_redis.connection.translate import translate
from fiftyone_redis.engine.documents import formats, scan
from fiftyone_redis.engine.documents.formats import FieldValues
from fiftyone_redis.engine.documents.keys import Keys
from fiftyone_redis.engine.fence import Fence
from fiftyone_redis.engine.schema.options import DTYPES
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.engine.vectors.encoding import Array, encode
from fiftyone_redis.errors import ServerError

BATCH_BYTES = 1 << 21
"""The size of a batch, in bytes of vectors."""

Packer = Callable[[Iterable[Sequence[Any]], Sequence[str]], Request]

AttributeReader = Callable[[Sequence[str]], FieldValues]
"""Returns the attributes of a batch of documents, given their ids."""

_BATCH_ROWS = 4096

# The server answers nobody else while it works off what one client has sent. To take a vector out
# of a graph of a million takes it 3 ms, and two batches are on their way at once.
_DELETED_FROM_GRAPH = 8


class Documents:
    """The documents of an index.

    Args:
        client: a client of the server
        schema: the index
        fence: what must hold whenever documents are deleted or lose or gain a field here
    """

    def __init__(self, client: Client, schema: Schema, fence: Fence | None = None) -> None:
        self.client = client
        self.schema = schema
        self.keys = Keys(client, schema)
        self._fence = fence

    def of(self, schema: Schema) -> Documents:
        """Returns the documents of another index, behind the same fence."""
        return Documents(self.client, schema, self._fence)

    def batches(self, count: int, most: int = 0) -> Iterator[slice]:
        """Yields slices of ``count`` documents, of about :data:`BATCH_BYTES` and ``most`` each."""
        size = DTYPES[self.schema.dtype] * self.schema.dim
        rows = max(1, min(most or _BATCH_ROWS, BATCH_BYTES // size))
        for start in range(0, count, rows):
            yield slice(start, min(start + rows, count))

    def write(
        self,
        ids: Sequence[str],
        matrix: Array,
        tags: FieldValues,
        attributes: AttributeReader | None = None,
    ) -> Iterator[int]:
        """Writes documents, and overwrites existing ones.

        Args:
            ids: ``n`` ids
            matrix: ``n x dim`` checked floats
            tags: ``n`` values of each tag
            attributes: returns the attributes of a batch of documents; None for no attributes

        Yields:
            the number of documents written since the last time

        Raises:
            ServerError: if the server refuses some of them; names the first few
        """
        to_keys = self.keys.look_up_for_writes(ids)

        def columns(rows: slice) -> FieldValues:
            more = attributes(ids[rows]) if attributes is not None else {}
            return {**{tag: values[rows] for tag, values in tags.items()}, **more}

        requests = (
            formats.pack_writes(
                self.schema, to_keys(ids[rows]), ids[rows], matrix[rows], columns(rows)
            )
            for rows in self.batches(len(ids))
        )
        for _, replies in self.client.exchange_or_raise(requests):
            yield len(replies)

    def read(
        self, ids: Sequence[str], fields: Sequence[str]
    ) -> Iterator[tuple[Sequence[str], list[list[bytes | None]]]]:
        """Reads fields of documents.

        Args:
            ids: the documents' ids
            fields: the names of the fields

        Yields:
            batches of ids, in order, with the field values of each document; None for a missing
            value

        Raises:
            ServerError: if the server refuses some of them; names the first few
        """
        schema, to_keys = self.schema, self.keys.look_up_for_reads(ids)
        if len(ids) == 1:
            command = formats.read_command(schema, to_keys(ids)[0], fields)
            try:
                reply = self.client.execute(*command)
            except ServerError as error:
                if not _is_wrong_type(error.__cause__):
                    raise
                reply = self._missing(len(fields))
            yield ids, formats.read_values(schema, fields, [reply])
            return
        requests = (
            formats.pack_reads(schema, to_keys(ids[rows]), ids[rows], fields)
            for rows in self.batches(len(ids))
        )
        for batch, replies in self._exchange(requests, len(fields)):
            yield batch, formats.read_values(schema, fields, replies)

    def find_existing(self, ids: Sequence[str]) -> set[str]:
        """Returns the ids whose documents have a vector."""
        command = formats.existence_command(self.schema, self.schema.vector_field)
        return {
            id
            for batch, replies in self._send_per_id(ids, *command)
            for id, found in zip(batch, replies, strict=True)
            if formats.read_existence(found)
        }

    def delete(self, ids: Sequence[str], *, are_indexed: bool = True) -> list[str]:
        """Deletes documents and returns the ids of those that were there.

        Keys that hold something else are left alone. Some ids may be missing after a lost
        connection: a retry does not count documents whose deletion succeeded without a reply. Say
        whether they are indexed: taking them out of a graph takes the server long.
        """
        pack = partial(self._pack_if_passed, test=formats.removal_test(self.schema))
        most = _DELETED_FROM_GRAPH if are_indexed and self.schema.algorithm != "FLAT" else 0
        return [
            id
            for batch, replies in self._send_per_id(ids, "UNLINK", pack=pack, most=most)
            for id, deleted in zip(batch, replies, strict=True)
            if deleted
        ]

    def remove_field(self, ids: Sequence[str], field: str) -> int:
        """Removes a field from documents and returns how many had it."""
        command = "HDEL" if self.schema.storage == "HASH" else "JSON.DEL"
        path = self.schema.path(field)
        sent = self._send_per_id(ids, command, path)
        return sum(add_counts([reply or 0 for reply in replies]) for _, replies in sent)

    def update_fields(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        """Writes and removes fields of documents in one batch, so of a few thousand at most.

        Documents that do not exist any more are passed over.

        Args:
            changes: the new field values of each id; None removes a field

        Raises:
            ServerError: if the server refuses some of them; names the first few
        """
        ids = list(changes)
        found = self.keys.look_up_for_reads(ids)(ids)
        commands = [
            (id, command)
            for key, id in zip(found, ids, strict=True)
            for command in formats.update_commands(self.schema, key, changes[id])
        ]
        request = pack_if_passed((command for _, command in commands), [id for id, _ in commands])
        for _ in self.client.exchange_or_raise([request]):
            pass

    def set_missing(self, ids: Sequence[str], field: str, blobs: Array) -> None:
        """Sets a field of the HASHes that exist and lack it, in one batch.

        Args:
            ids: ``n`` ids
            field: the field
            blobs: ``n`` rows of bytes, one for each document
        """
        found = self.keys.look_up_for_reads(ids)(ids)
        commands: Iterator[Command] = (
            ["HSETNX", key, field, blob.tobytes()] for key, blob in zip(found, blobs, strict=True)
        )
        for _ in self.client.exchange_or_raise([self._pack_if_passed(commands, ids)]):
            pass

    def withdraw(self, ids: Sequence[str], current: Schema) -> None:
        """Removes what was written to documents after the index had become another one.

        Args:
            ids: the documents' ids
            current: the index that has taken the place of this one
        """
        own = self.schema
        is_same_key = (own.storage, own.prefix) == (current.storage, current.prefix)
        if is_same_key and own.vector_field == current.vector_field:
            return  # the new index's documents are in the same place
        command: Command
        if own.storage == "JSON":
            command = ["JSON.DEL"]
        elif own.prefix != current.prefix:
            command = ["UNLINK"]
        else:
            command = ["HDEL", own.vector_field]
        keys = [to_bytes(own.prefix + id) for id in ids]
        commands = ([command[0], key, *command[1:]] for key in keys)
        for _ in self.client.exchange([pack_keyed(commands, keys)]):
            pass  # a refusal means that others have put a value of another type there

    def take_back(self, ids: Sequence[str], matrix: Array) -> None:
        """Deletes the HASHes that still hold exactly what was written to them.

        Args:
            ids: ``n`` ids
            matrix: the ``n x dim`` floats that were written
        """
        if self.schema.storage == "JSON":
            return
        blobs, found = encode(matrix, self.schema.dtype), self.keys.look_up_for_reads(ids)(ids)
        field, pairs = self.schema.vector_field, zip(found, blobs, strict=True)
        commands = ((key, field, blob.tobytes()) for key, blob in pairs)
        for _ in self.client.exchange_or_raise([pack_unlink_if_equal(commands, ids)]):
            pass

    def walk_ids(self) -> Iterator[list[str]]:
        """Yields sorted pages of the ids of all documents, including HASHes without a vector.

        Raises:
            IndexMismatchError: if two documents have the same id
        """
        if not self.schema.owns_prefix:
            yield from self.keys.walk_ids()
            return
        seen: set[str] = set()
        kind, prefix = formats.TYPE_NAMES[self.schema.storage], self.schema.prefix
        for found in scan.walk_keys(self.client, prefix, kind):
            # SCAN may return a key twice while the server resizes its hash table.
            page = {to_text(key)[len(prefix) :] for key in found} - seen
            seen |= page
            if page:
                yield sorted(page)

    def list_ids(self) -> list[str]:
        """Returns the sorted ids of all documents, including HASHes without a vector."""
        return sorted(id for page in self.walk_ids() for id in page)

    def find_keys(self) -> tuple[int, list[str]]:
        """Counts the keys under the prefix, of all types.

        Returns:
            the number of keys, and those that hold no vector of the index's dimension and type

        Keys with a NUL count among the latter: the server leaves them out of the index.
        """
        command, path = formats.vector_size_command(self.schema)
        count, others = 0, []
        # All are listed first: a walk keeps its connection, and the pool may have one only.
        for found in list(scan.walk_keys(self.client, self.schema.prefix)):
            count += len(found)
            request = pack_keyed(((command, key, path) for key in found), found)
            for keys, replies in self.client.exchange([request]):
                for key, reply in zip(keys, replies, strict=True):
                    if isinstance(reply, redis.RedisError) and not _is_wrong_type(reply):
                        raise translate(reply, self.client.address)
                    if not formats.has_vector(self.schema, reply) or b"\0" in key:
                        others.append(to_text(key))
        return count, sorted(set(others))

    def draw_keys(self, scanned: int) -> list[str]:
        """Returns the keys of a few documents, in the random order of the server's hash table.

        Args:
            scanned: the number of keys that the server scans per page
        """
        kind, prefix = formats.TYPE_NAMES[self.schema.storage], self.schema.prefixes[0]
        found = scan.draw_keys(self.client, prefix, kind, scanned)
        return list(dict.fromkeys(map(to_text, found)))

    def _pack_if_passed(
        self, commands: Iterable[Sequence[Any]], ids: Sequence[str], test: Sequence[str] = EXISTS
    ) -> Request:
        """Packs commands that run only if their key passes a test, behind the fence if any."""
        if self._fence is None:
            return pack_if_passed(commands, ids, test)
        return self._fence.pack(commands, ids, test)

    def _send_per_id(
        self,
        ids: Sequence[str],
        command: str,
        *rest: str,
        pack: Packer | None = None,
        most: int = 0,
    ) -> Iterator[tuple[Sequence[str], list[Any]]]:
        """Sends a command with the key of each id; yields batches of ids and replies.

        The reply is None where a key holds a value of another type than documents have.
        """
        to_keys = self.keys.look_up_for_reads(ids)
        if pack is None:
            pack = pack_keyed if self._fence is None else self._pack_if_passed
        requests = (
            pack(((command, key, *rest) for key in to_keys(ids[rows])), ids[rows])
            for rows in self.batches(len(ids), most)
        )
        yield from self._exchange(requests)

    def _exchange(
        self, requests: Iterable[Request], fields: int = 0
    ) -> Iterator[tuple[Sequence[str], list[Any]]]:
        """Sends requests; a key that holds a value of another type counts as missing."""
        missing = self._missing(fields)
        for ids, replies in self.client.exchange(requests):
            kept = [missing if _is_wrong_type(reply) else reply for reply in replies]
            self.client.raise_errors(ids, kept)
            yield ids, kept

    def _missing(self, fields: int) -> list[None] | None:
        """Returns the reply of a read of some fields where there is no document."""
        return [None] * fields if fields and self.schema.storage == "HASH" else None


def _is_wrong_type(reply: Any) -> bool:
    """Returns whether a command was refused since its key holds a value of another type."""
    if not isinstance(reply, redis.RedisError):
        return False
    return "WRONGTYPE" in str(reply) or "wrong Redis type" in str(reply)
