"""Parses cluster topology: which node holds which slots, and which nodes are alive. No sockets.

``CLUSTER SHARDS`` lists all nodes, dead ones included. A primary's own line of ``CLUSTER NODES``
has the slots that it holds now, and those that are moving. ``SEARCH.CLUSTERINFO`` lists the nodes
that the coordinator queries. Only their documents are in search results; the list may lack nodes,
or contain dead ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from fiftyone_redis.connection.protocol.parsing import parses, parsing
from fiftyone_redis.connection.protocol.wire import COORDINATOR, decode, to_dict
from fiftyone_redis.errors import list_first

SLOTS = 16_384
"""How many slots a cluster has."""

Range = tuple[int, int]
"""The first and last slot of a range, both included."""


class Node(NamedTuple):
    """A cluster node and its slots.

    Args:
        id: its id
        address: its host and port
        slots: the slots of its shard, as sorted ranges that do not touch
        is_primary: whether it is a primary, or was one when it failed
        health: ``"online"``, ``"fail"`` or ``"loading"``, as the other nodes see it
        epoch: the configuration epoch; empty if unknown
        moving: the moving slots, as CLUSTER NODES writes them
    """

    id: str
    address: str
    slots: tuple[Range, ...] = ()
    is_primary: bool = True
    health: str = "online"
    epoch: str = ""
    moving: tuple[str, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Whether it is online, as the other nodes see it."""
        return self.health == "online"

    def __str__(self) -> str:
        return f"{self.address} (slots {format_slots(self.slots)})" if self.slots else self.address


Shard = tuple[Node, ...]
"""The nodes of one shard, in the order of CLUSTER SHARDS."""


@dataclass(frozen=True)
class ClusterState:
    """The state of a cluster at one moment.

    Args:
        searched: the nodes that the coordinator queries
        held: the primaries that reported their own slots
        lost: a sentence for each shard that is missing, or not searched
        moving: a sentence for each node with moving slots
    """

    searched: tuple[Node, ...]
    held: tuple[Node, ...]
    lost: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether all slots are searched where they are held, and none is moving."""
        return not (self.lost or self.moving)

    def nodes(self) -> set[str]:
        """Returns the ids of all nodes."""
        return {node.id for node in (*self.searched, *self.held)}


class Answer(NamedTuple):
    """Replies, which may be errors, and the cluster state; None without a coordinator."""

    replies: list[Any]
    state: ClusterState | None


def read_state(coordinator: str, searched: Any, replies: Mapping[str, Any]) -> ClusterState:
    """Parses the cluster state from replies of its nodes.

    Args:
        coordinator: the address of the coordinator
        searched: its reply to SEARCH.CLUSTERINFO, or an error
        replies: the primaries' replies to CLUSTER NODES, or errors, by address
    """
    with parsing(f"{COORDINATOR} or CLUSTER NODES", [searched, replies]):
        return _read_state(coordinator, searched, replies)


def _read_state(coordinator: str, searched: Any, replies: Mapping[str, Any]) -> ClusterState:
    texts = {at: decode(reply) for at, reply in replies.items() if _is_reply(reply)}
    silent = {at: reply for at, reply in replies.items() if not _is_reply(reply)}
    held = tuple(
        sorted(node for text in texts.values() for node in _read_primaries(text, "myself"))
    )
    # A node's own line is the most reliable, then the coordinator's.
    order = [text for at, text in sorted(texts.items(), key=lambda each: each[0] != coordinator)]
    known = {node.id: node for text in reversed(order) for node in _read_primaries(text)}
    known = {id: node for id, node in known.items() if node.slots or node.moving}
    known.update({node.id: node for node in held})
    missing = [node for node in known.values() if node not in held]
    silence = list(_describe_silent(missing, silent))
    if not _is_reply(searched):
        reason = str(searched).rstrip(" .")
        unknown = f"{coordinator} cannot tell what it searches ({reason})"
        return ClusterState((), held, tuple(silence) or (unknown,))
    asked = tuple(sorted(node for node in read_searched(searched) if node.slots))
    lost = [*silence, *_describe_differences(coordinator, asked, held, missing)]
    nowhere = find_uncovered_slots((*asked, *held, *missing))
    if nowhere:
        lost.append(f"slots {format_slots(nowhere)} belong to no node that answers")
    moving = tuple(
        f"slots are on the move at {node.address}: "
        f"{list_first([m.strip('[]') for m in node.moving])}"
        for node in held
        if node.moving
    )
    return ClusterState(asked, held, tuple(lost), moving)


@parses(COORDINATOR)
def read_searched(reply: Any) -> list[Node]:
    """Reads the reply to SEARCH.CLUSTERINFO: the nodes that the coordinator queries."""
    shards = [to_dict(shard) for shard in to_dict(decode(reply))["shards"]]
    return [
        Node(_text(s["id"]), f"{s['host']}:{s['port']}", _read_ranges(s["slots"])) for s in shards
    ]


@parses(COORDINATOR)
def is_managed(searched: Any) -> bool:
    """Returns whether a reply to SEARCH.CLUSTERINFO comes from a managed cluster."""
    return to_dict(decode(searched)).get("cluster_type", "") not in ("", "redis_oss")


@parses("CLUSTER SHARDS or CLUSTER SLOTS")
def read_shards(reply: Any, slots: Any = ()) -> list[Shard]:
    """Reads the reply to CLUSTER SHARDS, in RESP2 or RESP3.

    Args:
        reply: the reply, which lacks the slots of a shard whose first node is dead
        slots: the reply to CLUSTER SLOTS, which has them
    """
    held: dict[str, list[Range]] = {}
    for first, last, primary, *_ in decode(slots):
        held.setdefault(primary[2], []).append((first, last))
    shards = []
    for shard in map(to_dict, decode(reply)):
        nodes = [to_dict(node) for node in shard["nodes"]]
        other = _merge(each for node in nodes for each in held.get(node["id"], ()))
        ranges = _read_ranges(shard["slots"]) or other
        shards.append(tuple(_read_node(node, ranges) for node in nodes))
    return shards


def find_living_primary(shard: Shard) -> Node | None:
    """Returns the living primary of a shard, or None."""
    return next((node for node in shard if node.is_primary and node.is_alive), None)


def find_uncovered_slots(nodes: Iterable[Node]) -> list[Range]:
    """Returns the slots that no living primary among these nodes holds."""
    held = (each for node in nodes if node.is_primary and node.is_alive for each in node.slots)
    missing, expected = [], 0
    for first, last in [*_merge(held), (SLOTS, SLOTS)]:
        if first > expected:
            missing.append((expected, first - 1))
        expected = last + 1
    return missing


def find_dead(shards: Iterable[Shard]) -> list[Node]:
    """Returns the nodes of all shards without a living primary."""
    return [node for shard in shards if not find_living_primary(shard) for node in shard]


def find_failed_first(shards: Iterable[Shard]) -> list[Node]:
    """Returns the failed nodes that come first in their shard.

    A coordinator mistakes such a node for the primary, and waits for it.
    """
    return [shard[0] for shard in shards if shard and shard[0].health == "fail"]


def find_stale_primaries(shards: Iterable[Shard], searched: Iterable[Node]) -> list[Node]:
    """Returns dead nodes that the coordinator may wait for, although a replica took over.

    They precede the living primary in CLUSTER SHARDS, or the coordinator still queries them.
    """
    used = {node.id for node in searched}
    found = []
    for shard in shards:
        primary = find_living_primary(shard)
        if primary:
            before = shard[: shard.index(primary)]
            first = {node.id for node in before if node.is_primary}
            found += [n for n in shard if not n.is_alive and n.id in first | used]
    return found


def format_slots(ranges: Iterable[Range]) -> str:
    """Formats ranges of slots for messages."""
    return list_first([f"{first}-{last}" if last > first else str(first) for first, last in ranges])


def _describe_silent(missing: Sequence[Node], silent: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each primary that did not reply."""
    for node in missing:
        yield f"{node} does not answer"
    if not missing:
        for address, error in silent.items():
            yield f"{address} does not answer ({str(error).rstrip(' .')})"


def _describe_differences(
    coordinator: str, searched: Sequence[Node], held: Sequence[Node], missing: Sequence[Node]
) -> Iterator[str]:
    """Yields a sentence for each node whose searched slots differ from those it holds."""
    asked = {node.id: node for node in searched}
    for node in held:
        found = asked.get(node.id)
        if node.slots and found is None:
            yield f"{node} is not searched by {coordinator}"
        elif found is not None and found.slots != node.slots:
            yield f"{node} is searched by {coordinator} as {found}"
    known = {node.id for node in (*held, *missing)}
    for node in searched:
        if node.id not in known:
            yield f"{node} is searched by {coordinator}, and is no primary"


def _read_primaries(nodes: str, flag: str = "master") -> Iterator[Node]:
    """Yields the primaries in a reply to CLUSTER NODES that have a flag."""
    for line in filter(str.strip, nodes.splitlines()):
        id, place, flags, _, _, _, epoch, _, *slots = line.split()
        if {"master", flag} <= set(flags.split(",")):
            moving = tuple(each for each in slots if each.startswith("["))
            bounds = [each.split("-") for each in slots if not each.startswith("[")]
            ranges = _merge((int(bound[0]), int(bound[-1])) for bound in bounds)
            yield Node(id, place.partition("@")[0], ranges, epoch=epoch, moving=moving)


def _read_node(entry: Mapping[str, Any], slots: tuple[Range, ...]) -> Node:
    # The endpoint is empty or "?" if the nodes do not know their host name.
    endpoint = entry.get("endpoint")
    host = entry.get("ip") if endpoint in (None, "", "?") else endpoint
    port = entry.get("port") or entry.get("tls-port")
    is_primary = entry["role"] in ("master", "primary")
    health = _text(entry["health"])
    return Node(_text(entry["id"]), f"{host or '?'}:{port}", slots, is_primary, health)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _read_ranges(flat: Sequence[Any]) -> tuple[Range, ...]:
    """Reads a flat list of first and last slots, as in SEARCH.CLUSTERINFO and CLUSTER SHARDS."""
    numbers = [int(number) for number in flat]
    return _merge(zip(numbers[::2], numbers[1::2], strict=True))


def _merge(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _is_reply(reply: Any) -> bool:
    return not isinstance(reply, redis.RedisError)
