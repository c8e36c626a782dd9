"""Reads how a cluster is laid out: which node holds which slots, and which live. No sockets.

``CLUSTER SHARDS`` tells how the nodes see it, ``SEARCH.CLUSTERINFO`` how the query engine's
coordinator does, which asks only the nodes that are in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fiftyone_redis.engine.replies import decoded, pairs

SLOTS = 16_384
"""How many slots a cluster has."""

Range = tuple[int, int]
"""Slots from the first to the last, both included."""


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Args:
        id: its id
        address: its host and port
        is_primary: whether it is a primary, or was one when it died
        is_alive: whether it answers, as far as the others know
    """

    id: str
    address: str
    is_primary: bool = True
    is_alive: bool = True


@dataclass(frozen=True)
class Shard:
    """A part of a cluster: some slots, and the nodes that hold them.

    Args:
        slots: the slots, in ranges
        nodes: the nodes, in the order of the reply
    """

    slots: tuple[Range, ...]
    nodes: tuple[Node, ...]

    @property
    def primary(self) -> Node | None:
        """The primary that lives, if there is one."""
        return next((node for node in self.nodes if node.is_primary and node.is_alive), None)


def read_shards(reply: Any, slots: Any = ()) -> list[Shard]:
    """Reads the reply to CLUSTER SHARDS, in RESP2 or RESP3.

    Args:
        reply: that reply; it has no slots for a part whose first node is dead
        slots: the reply to CLUSTER SLOTS, which has them
    """
    held: dict[str, list[Range]] = {}
    for first, last, primary, *_ in decoded(slots):
        held.setdefault(primary[2], []).append((first, last))
    shards = []
    for shard in map(pairs, decoded(reply)):
        nodes = tuple(_node(pairs(node)) for node in shard["nodes"])
        ranges = _ranges(shard["slots"]) or [each for n in nodes for each in held.get(n.id, ())]
        shards.append(Shard(tuple(ranges), nodes))
    return shards


def read_searched(reply: Any) -> list[Shard]:
    """Reads the reply to SEARCH.CLUSTERINFO: the nodes that the coordinator asks, one a part."""
    shards = [pairs(shard) for shard in pairs(decoded(reply))["shards"]]
    return [
        Shard(_ranges(shard["slots"]), (Node(shard["id"], f"{shard['host']}:{shard['port']}"),))
        for shard in shards
    ]


def uncovered(shards: Iterable[Shard]) -> list[Range]:
    """Returns the slots that no living primary holds."""
    held = sorted(slots for shard in shards if shard.primary for slots in shard.slots)
    missing, expected = [], 0
    for first, last in [*held, (SLOTS, SLOTS)]:
        if first > expected:
            missing.append((expected, first - 1))
        expected = max(expected, last + 1)
    return missing


def dead(shards: Iterable[Shard]) -> list[Node]:
    """Returns the nodes of those parts that have no living primary."""
    return [node for shard in shards if not shard.primary for node in shard.nodes]


def waited_for(shards: Sequence[Shard], searched: Iterable[Shard]) -> list[Node]:
    """Returns the dead nodes that the coordinator may wait for, though others took over.

    They come before the living primary in CLUSTER SHARDS, or the coordinator still has them.
    """
    used = {node.id for shard in searched for node in shard.nodes}
    found = []
    for shard in shards:
        if shard.primary:
            before = shard.nodes[: shard.nodes.index(shard.primary)]
            first = {node.id for node in before if node.is_primary}
            found += [n for n in shard.nodes if not n.is_alive and n.id in first | used]
    return found


def named(ranges: Iterable[Range]) -> str:
    """Returns ranges of slots for people to read."""
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


def _ranges(flat: Sequence[Any]) -> tuple[Range, ...]:
    numbers = [int(number) for number in flat]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _node(said: dict[str, Any]) -> Node:
    # The endpoint is empty where the nodes do not know the name under which they are reached.
    host = said.get("endpoint") or said.get("ip") or "?"
    port = said.get("port") or said.get("tls-port")
    is_primary = said["role"] in ("master", "primary")
    return Node(said["id"], f"{host}:{port}", is_primary, said["health"] == "online")
