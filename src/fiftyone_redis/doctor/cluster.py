"""Checks the shards and slots of a cluster. Read-only."""

from __future__ import annotations

from itertools import chain

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.client import Client
from fiftyone_redis.connection.protocol.wire import COORDINATOR
from fiftyone_redis.connection.topology import Node, Shard
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.doctor.findings import OK, PROBLEM, WARNING, Finding, try_execute
from fiftyone_redis.errors import format_count, list_first


def check_shards(client: Client) -> list[Finding]:
    """Checks whether all shards of a cluster are alive and searched."""
    if not client.is_cluster:
        return []
    layouts = [client.execute("CLUSTER", kind) for kind in ("SHARDS", "SLOTS")]
    shards = topology.read_shards(*layouts)
    reply = try_execute(client, COORDINATOR)
    findings = check_layout(shards, [] if reply is None else topology.read_searched(reply))
    if any(finding.status == PROBLEM for finding in findings):
        return findings
    missing = _check_searches(client)
    if missing is None:
        return findings
    return [missing, *(finding for finding in findings if finding.status != OK)]


def check_layout(shards: list[Shard], searched: list[Node]) -> list[Finding]:
    """Checks the slot layout of a cluster.

    Args:
        shards: the shards, as the nodes see them
        searched: the nodes that the query engine's coordinator queries; empty if not reported
    """
    findings = []
    lost = topology.find_uncovered_slots(chain(*shards))
    if lost:
        nodes = [node.address for node in topology.find_dead(shards)]
        of = f", which {list_first(nodes)} had" if nodes else ""
        text = f"No living primary holds the slots {topology.format_slots(lost)}{of}: searches "
        text += "lack their documents, and nothing can be added to them."
        advice = (
            "Start them again; where a replica lives, CLUSTER FAILOVER TAKEOVER on it helps too."
        )
        findings.append(Finding("cluster", PROBLEM, text, advice))
    unsearched = topology.find_uncovered_slots(searched) if searched else []
    if unsearched and unsearched != lost:
        text = f"The query engine leaves out the slots {topology.format_slots(unsearched)}: "
        text += "searches lack their documents."
        advice = "It passes when the slots have moved and all nodes know it; look again then."
        findings.append(Finding("cluster", PROBLEM, text, advice))
    waited = topology.find_stale_primaries(shards, searched)
    if waited:
        text = f"{list_first([node.address for node in waited])} died and another node took over, "
        text += "but it is still listed first: a search may wait for it until it returns."
        forget = "; ".join(f"CLUSTER FORGET {node.id}" for node in waited)
        advice = f"Start it again, or on every other node: {forget}"
        findings.append(Finding("cluster", WARNING, text, advice))
    if findings:
        return findings
    text = f"{format_count(len(shards), 'shard')} with all {topology.SLOTS} slots."
    return [Finding("cluster", OK, text)]


def _check_searches(client: Client) -> Finding | None:
    """Checks whether a search would be answered now; nodes notice a dead node only later."""
    with translate_errors(client.address):
        state = client.fetch_state()
    if state is None or state.is_complete:
        return None
    if state.lost:
        text = f"Searches are not answered: {list_first(list(state.lost))}."
        advice = "Bring it back, or have a replica take over (CLUSTER FAILOVER TAKEOVER on it)."
        return Finding("cluster", PROBLEM, text, advice)
    text = f"Searches wait: {list_first(list(state.moving))}."
    advice = "If nothing moves them any more, `redis-cli --cluster fix` ends the move."
    return Finding("cluster", WARNING, text, advice)
