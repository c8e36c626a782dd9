"""How a cluster is at one moment: what its search covers, and what its primaries hold.

The node that answers a query, the coordinator, asks those nodes that it knows as primaries, and
says which in its reply to SEARCH.CLUSTERINFO. It may know too few, or some that died. What a
primary holds it says itself, in its own line of CLUSTER NODES, with the slots that are on the move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from fiftyone_redis.engine.errors import some

SLOTS = 16384

Ranges = tuple[tuple[int, int], ...]
"""Slots, as pairs of the first and the last; in order, and none next to another."""


class Part(NamedTuple):
    """A node, and slots that it has.

    Args:
        id: the node's id
        place: its address
        slots: the slots
        epoch: the epoch of that assignment; empty where it is not known
        moving: the slots on the move, as CLUSTER NODES writes them
    """

    id: str
    place: str
    slots: Ranges
    epoch: str = ""
    moving: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """How a cluster is at one moment.

    Args:
        searched: the nodes that the coordinator asks
        held: the primaries that told of themselves
        lost: sentences about parts that are not searched, or not held
        moving: sentences about slots on the move
    """

    searched: tuple[Part, ...]
    held: tuple[Part, ...]
    lost: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether all slots are searched where they are held, and stay there."""
        return not (self.lost or self.moving)

    def nodes(self) -> set[str]:
        """Returns the ids of all nodes."""
        return {part.id for part in (*self.searched, *self.held)}


def read(coordinator: str, searched: Any, told: Mapping[str, Any]) -> View:
    """Reads a view from what the nodes say.

    Args:
        coordinator: the address of the node that searches
        searched: its reply to SEARCH.CLUSTERINFO, or the error in its place
        told: the primaries' replies to CLUSTER NODES by their addresses, or errors
    """
    texts = {place: _text(reply) for place, reply in told.items() if _is_good(reply)}
    silent = {place: reply for place, reply in told.items() if not _is_good(reply)}
    held = tuple(sorted(part for text in texts.values() for part in _own(text)))
    # Whoever tells of itself knows best, then the coordinator.
    order = [text for place, text in sorted(texts.items(), key=lambda each: each[0] != coordinator)]
    known = {part.id: part for text in reversed(order) for part in holders(text)}
    known.update({part.id: part for part in held})
    if not _is_good(searched):
        reason = str(searched).rstrip(" .")
        silence = tuple(_silence([part for part in known.values() if part not in held], silent))
        return View(
            (), held, silence or (f"{coordinator} cannot tell what it searches ({reason})",)
        )
    shards = tuple(sorted(_shards(searched)))
    missing = [part for part in known.values() if part not in held]
    lost = [
        _silence(missing, silent),
        _differences(coordinator, shards, held, missing),
        _gaps((*shards, *held, *missing)),
    ]
    moving = tuple(
        f"slots are on the move at {part.place}: {some([each.strip('[]') for each in part.moving])}"
        for part in held
        if part.moving
    )
    return View(shards, held, tuple(sentence for each in lost for sentence in each), moving)


def is_managed(searched: Any) -> bool:
    """Returns whether a reply to SEARCH.CLUSTERINFO is of a cluster that a service manages."""
    return _text(_map(searched).get("cluster_type", "")) not in ("", "redis_oss")


def holders(nodes: str) -> Iterator[Part]:
    """Yields the primaries with slots, as one node's reply to CLUSTER NODES has them."""
    for words in _lines(nodes):
        if "master" in words[2].split(",") and len(words) > 8:
            yield _part(words)


def dead_ahead(shards: Any) -> Iterator[str]:
    """Yields the addresses of failed nodes that come first in their shard, in CLUSTER SHARDS.

    A coordinator takes such a node for the shard's primary, and waits for it.
    """
    for shard in shards:
        nodes = [_map(node) for node in _map(shard)["nodes"]]
        if nodes and _text(nodes[0]["health"]) == "fail":
            port = nodes[0].get("port", nodes[0].get("tls-port"))
            yield f"{_text(nodes[0]['ip'])}:{_text(port)}"


def named(part: Part) -> str:
    """Returns a node's address and slots, for a sentence."""
    if not part.slots:
        return part.place
    ranges = [f"{start}-{end}" if end > start else str(start) for start, end in part.slots]
    return f"{part.place} (slots {some(ranges)})"


def _silence(missing: Sequence[Part], silent: Mapping[str, Any]) -> Iterator[str]:
    """Yields sentences about primaries that did not tell of themselves."""
    for part in missing:
        yield f"{named(part)} does not answer"
    if not missing:
        for place, error in silent.items():
            yield f"{place} does not answer ({str(error).rstrip(' .')})"


def _differences(
    coordinator: str, searched: Sequence[Part], held: Sequence[Part], missing: Sequence[Part]
) -> Iterator[str]:
    """Yields sentences about nodes that are not searched for what they hold."""
    asked = {part.id: part for part in searched}
    for part in held:
        found = asked.get(part.id)
        if part.slots and found is None:
            yield f"{named(part)} is not searched by {coordinator}"
        elif found is not None and found.slots != part.slots:
            yield f"{named(part)} is searched by {coordinator} as {named(found)}"
    known = {part.id for part in (*held, *missing)}
    for part in searched:
        if part.id not in known:
            yield f"{named(part)} is searched by {coordinator}, and is no primary"


def _gaps(parts: Iterable[Part]) -> Iterator[str]:
    """Yields sentences about slots that nobody is known to hold."""
    covered = _merged([pair for part in parts for pair in part.slots])
    ends = [-1, *(end for _, end in covered)]
    starts = [*(start for start, _ in covered), SLOTS]
    for end, start in zip(ends, starts, strict=True):
        if end + 1 < start:
            yield f"slots {end + 1}-{start - 1} belong to no node that answers"


def _shards(reply: Any) -> Iterator[Part]:
    """Reads the reply to SEARCH.CLUSTERINFO: a map, which is flat in RESP2."""
    for shard in _map(reply)["shards"]:
        told = _map(shard)
        bounds = [int(bound) for bound in told["slots"]]
        slots = _merged(list(zip(bounds[::2], bounds[1::2], strict=True)))
        if slots:
            yield Part(_text(told["id"]), f"{_text(told['host'])}:{told['port']}", slots)


def _own(nodes: str) -> list[Part]:
    """Returns a node as it tells of itself in CLUSTER NODES; nothing if it is no primary."""
    own = next(words for words in _lines(nodes) if "myself" in words[2].split(","))
    return [_part(own)] if "master" in own[2].split(",") else []


def _part(words: list[str]) -> Part:
    moving = tuple(word for word in words[8:] if word.startswith("["))
    pairs = [word.split("-") for word in words[8:] if not word.startswith("[")]
    slots = _merged([(int(pair[0]), int(pair[-1])) for pair in pairs])
    return Part(words[0], words[1].partition("@")[0], slots, words[6], moving)


def _merged(pairs: list[tuple[int, int]]) -> Ranges:
    found: list[tuple[int, int]] = []
    for start, end in sorted(pairs):
        if found and start <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def _lines(nodes: str) -> Iterator[list[str]]:
    return (line.split() for line in nodes.splitlines() if line.strip())


def _map(reply: Any) -> dict[str, Any]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): value for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _is_good(reply: Any) -> bool:
    return not isinstance(reply, redis.RedisError)
