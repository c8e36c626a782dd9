"""A lease guards what its owner changes in a cluster."""

import pytest

from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.engine.protocol import commands
from fiftyone_redis.errors import IndexChangedError

RECORD = commands.record_key("birds")


def count_scripts(client) -> int:
    """Returns how many scripts the primaries have run."""
    found = [node.info("commandstats") for node in client.list_primaries()]
    return sum(each.get("cmdstat_eval", {}).get("calls", 0) for each in found)


def test_a_rebuild_is_decided_in_the_same_step_as_its_lease_is_tested(client):
    with lease.hold(client, "birds") as held:
        before = count_scripts(client)
        held.set_if_held(RECORD, "decided")
        assert count_scripts(client) == before + 1
    assert client.execute("GET", RECORD) == b"decided"


def test_nothing_is_decided_once_the_lease_is_lost(client):
    with lease.hold(client, "birds") as held:
        client.execute("SET", commands.lease_key("birds"), "another process")
        with pytest.raises(IndexChangedError, match="another process"):
            held.set_if_held(RECORD, "decided")
    assert client.execute("GET", RECORD) is None
