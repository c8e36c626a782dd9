"""What the layout of a cluster is like, and what to do about it. Nothing is changed."""

from __future__ import annotations

from itertools import chain

import redis

from fiftyone_redis.connection import complete_answers, topology
from fiftyone_redis.connection.client import execute
from fiftyone_redis.connection.cluster import Client, get_address
from fiftyone_redis.connection.topology import Node, Shard
from fiftyone_redis.connection.translate import translate_errors
from fiftyone_redis.connection.wire import COORDINATOR
from fiftyone_redis.doctor.findings import OK, PROBLEM, WARNING, Finding, try_execute
from fiftyone_redis.errors import list_first


def check_shards(client: Client) -> list[Finding]:
    """Looks whether all parts of a cluster are there, and are searched."""
    if not isinstance(client, redis.RedisCluster):
        return []
    layouts = [execute(client, "CLUSTER", kind) for kind in ("SHARDS", "SLOTS")]
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
    """Says what is wrong with the layout of a cluster.

    Args:
        shards: its parts, as its nodes see them
        searched: the nodes that the query engine's coordinator asks; empty if it does not tell
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
    text = f"{len(shards)} parts, which hold all {topology.SLOTS} slots."
    return [Finding("cluster", OK, text)]


def _check_searches(client: redis.RedisCluster) -> Finding | None:
    """Looks whether a search would be answered now; the nodes notice a dead one after a while."""
    with translate_errors(get_address(client)):
        view = complete_answers.fetch_state(client)
    if view is None or view.is_complete:
        return None
    if view.lost:
        text = f"Searches are not answered: {list_first(list(view.lost))}."
        advice = "Bring it back, or have a replica take over (CLUSTER FAILOVER TAKEOVER on it)."
        return Finding("cluster", PROBLEM, text, advice)
    text = f"Searches wait: {list_first(list(view.moving))}."
    advice = "If nothing moves them any more, `redis-cli --cluster fix` ends the move."
    return Finding("cluster", WARNING, text, advice)
