"""Maps ids to keys and back.

In an index made by this package, a key is the prefix and the id. Other indexes may keep the id in a
field, or have several prefixes or none. Their keys are looked up on the server: by the id field if
it is a TAG, by testing which possible keys exist, or by walking all documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import redis

from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.connection.protocol import wire
from fiftyone_redis.connection.protocol.wire import get_reply_timeout, pack, to_bytes
from fiftyone_redis.engine.documents import formats
from fiftyone_redis.engine.protocol import commands, replies
from fiftyone_redis.engine.schema.schema import NO_SEPARATOR, Schema
from fiftyone_redis.engine.vectors import checks
from fiftyone_redis.errors import IndexMismatchError, format_count, list_first

TIMEOUT_MS = 30_000
"""The server's time limit for a query that looks up keys, in milliseconds."""

_TAG_VALUES = 500
_AT_ONCE = 5000

KeyLookup = Callable[[Sequence[str]], list[bytes]]
"""Maps ids to keys, once they have been looked up."""


class Keys:
    """The keys of an index's documents.

    Args:
        client: a client of the server
        schema: the index
    """

    def __init__(self, client: Client, schema: Schema) -> None:
        self._client = client
        self._schema = schema

    def look_up_for_reads(self, ids: Sequence[str]) -> KeyLookup:
        """Looks up keys for reading. Ids without a document get a key that does not exist.

        Args:
            ids: all ids that will be mapped

        Raises:
            IndexMismatchError: if two documents have the same id
            InputError: if ids are not text
        """
        checks.check_ids_to_read(ids)
        prefix = self._schema.prefix
        if self._schema.has_direct_keys:
            return lambda some_ids: [to_bytes(prefix + id) for id in some_ids]
        found = self.find(ids)
        missing = f"{prefix}{NO_SEPARATOR}nobody"
        return lambda some_ids: [to_bytes(found.get(id, missing)) for id in some_ids]

    def look_up_for_writes(self, ids: Sequence[str]) -> KeyLookup:
        """Looks up keys for writing. Ids without a document get the prefix and the id as key.

        Raises:
            IndexMismatchError: if two documents have the same id, or a new key is already in use
        """
        if self._schema.has_direct_keys:
            return self.look_up_for_reads(ids)
        found, prefix = self.find(ids), self._schema.prefix
        fresh = [id for id in ids if id not in found]
        taken = self._find_existing([prefix + id for id in fresh])
        if taken:
            raise IndexMismatchError(
                f"Documents with other ids already use {format_count(len(taken), 'key')} of the "
                f"new documents: {list_first([repr(key) for key in taken])}; remove those "
                "documents, or choose other ids."
            )
        return lambda some_ids: [to_bytes(found.get(id, prefix + id)) for id in some_ids]

    def find(self, ids: Sequence[str]) -> dict[str, str]:
        """Looks up the keys of the ids that have a document.

        Raises:
            IndexMismatchError: if two documents have the same id
            InputError: if ids are not text
        """
        checks.check_ids_to_read(ids)
        schema = self._schema
        if schema.has_direct_keys:
            return {id: schema.prefix + id for id in ids}
        if schema.id_field is None:
            return self._find_by_key(ids)
        tag = schema.tag(schema.id_field)
        if tag is None or not all(_is_single_value(id, tag.options) for id in ids):
            wanted, every = set(ids), self.read_pages()
            return map_ids_to_keys(
                schema, ({k: i for k, i in p.items() if i in wanted} for p in every)
            )
        return map_ids_to_keys(schema, self._find_by_tag(tag.name, ids))

    def require_id_field(self) -> None:
        """Raises an :class:`IndexMismatchError` unless the index or a document has the id field."""
        schema = self._schema
        name = schema.id_field
        if name not in [field.name for field in schema.fields if not field.kind]:
            return
        first = self._client.execute(*commands.some_keys(schema.server_name, 1))
        for key in replies.read_some_keys(first):
            command, path = formats.existence_command(schema, name)
            there = self._client.execute(command, to_bytes(key), path)
            if formats.read_existence(there):
                return
        raise IndexMismatchError(
            f"Neither the index {schema.name!r} nor a document of it has the field {name!r}; check "
            "id_field."
        )

    def walk_ids(self) -> Iterator[list[str]]:
        """Yields pages of the ids of all documents in the index, sorted within a page.

        Raises:
            IndexMismatchError: if two documents have the same id
        """
        seen: dict[str, str] = {}
        for page in self.read_pages():
            fresh = []
            for key, id in page.items():
                if id not in seen:
                    fresh.append(id)
                # A document that was just rewritten may occur again.
                if seen.setdefault(id, key) != key:
                    raise _duplicate_id_error(self._schema, id)
            yield sorted(fresh)

    def read_pages(self, command: wire.Command | None = None) -> Iterator[dict[str, str]]:
        """Yields pages of documents: their ids by their keys.

        After a lost connection it starts over, since the cursor may have advanced; documents may
        then occur twice. All pages are read from one node, as only that node knows the cursor.

        Args:
            command: the command that opens the cursor, such as :func:`commands.keys_with_tag`;
                None for all documents

        Raises:
            IncompleteResultError: if the server cut the query short
        """
        first = command or commands.all_keys(self._schema, timeout_ms=TIMEOUT_MS)
        for attempt in self._client.retrying():
            with attempt:
                node = self._client.pick_coordinator(attempt.failures)
                yield from self._read_pages_from(node, pack(first))

    def _read_pages_from(self, node: Server, command: bytes) -> Iterator[dict[str, str]]:
        state, seconds, name = None, get_reply_timeout(command), self._schema.server_name
        while True:
            [reply], state = self._client.send_checked(node, [command], state, seconds)
            if isinstance(reply, redis.RedisError):
                raise reply
            cursor, is_read = replies.read_cursor(reply), False
            try:
                yield replies.read_keys(reply, self._schema)[0]
                is_read = True
            finally:
                if cursor and not is_read:
                    node.execute(*commands.close_cursor(name, cursor))
            if not cursor:
                return
            command = pack(commands.next_page(name, cursor))

    def _find_by_tag(self, tag: str, ids: Sequence[str]) -> Iterator[dict[str, str]]:
        """Looks up keys by a TAG; drops extra matches, since a TAG may be case-insensitive."""
        for start in range(0, len(ids), _TAG_VALUES):
            batch = ids[start : start + _TAG_VALUES]
            wanted = set(batch)
            command = commands.keys_with_tag(self._schema, tag, batch, timeout_ms=TIMEOUT_MS)
            for page in self.read_pages(command):
                yield {key: id for key, id in page.items() if id in wanted}

    def _find_by_key(self, ids: Sequence[str]) -> dict[str, str]:
        """Looks up keys by testing which combinations of prefix and id exist."""
        candidates = {
            prefix + id: id
            for id in ids
            for prefix in self._schema.key_prefixes
            if self._schema.id_of(prefix + id) == id
        }
        there = self._find_existing(list(candidates))
        return map_ids_to_keys(self._schema, [{key: candidates[key] for key in there}])

    def _find_existing(self, keys: list[str]) -> list[str]:
        batches = [keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]
        requests = (
            wire.pack_keyed((("EXISTS", to_bytes(key)) for key in batch), batch)
            for batch in batches
        )
        found: list[str] = []
        for batch, answers in self._client.exchange_or_raise(requests):
            found += [key for key, there in zip(batch, answers, strict=True) if there]
        return found


def map_ids_to_keys(schema: Schema, found: Iterable[dict[str, str]]) -> dict[str, str]:
    """Inverts pages of ids by key to keys by id.

    Raises:
        IndexMismatchError: if two documents have the same id
    """
    keys: dict[str, str] = {}
    for page in found:
        for key, id in page.items():
            if keys.setdefault(id, key) != key:
                raise _duplicate_id_error(schema, id)
    return keys


def _duplicate_id_error(schema: Schema, id: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"Several documents of the index {schema.name!r} have the id {id!r}; remove all but one, "
        "or name another field with id_field."
    )


def _is_single_value(id: str, options: Sequence[str]) -> bool:
    """Returns whether a TAG holds the id as one value, so that a query can match it."""
    separator = options[options.index("SEPARATOR") + 1] if "SEPARATOR" in options else "\0"
    return bool(id) and separator not in id and id == id.strip()
