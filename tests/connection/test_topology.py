"""How a cluster is laid out: as recorded in several states, and as it may be as well."""

from itertools import chain

import pytest
from recorded import reply

from fiftyone_redis.connection import topology
from fiftyone_redis.connection.topology import SLOTS, Node, Shard
from fiftyone_redis.doctor.cluster import check_layout
from fiftyone_redis.doctor.findings import OK, PROBLEM, WARNING

CLUSTER = "redis-8.8-search-8.8.0-cluster-of-3"
WHOLE, LOST = "as it should be", "a primary and its replica are gone for 8 s"
LOST_SLOTS = [(300, 5760)]


def recorded(state: str, resp: int) -> tuple[list[Shard], list[Node]]:
    """Returns the parts of a cluster as its nodes see them, and whom its coordinator asks."""
    shards = reply(CLUSTER, resp, "CLUSTER", "SHARDS", state=state)
    searched = reply(CLUSTER, resp, "SEARCH.CLUSTERINFO", state=state)
    slots = reply(CLUSTER, resp, "CLUSTER", "SLOTS")
    return topology.read_shards(shards, slots), topology.read_searched(searched)


@pytest.fixture
def failed_over():
    """A cluster of two parts; the old primary of the second is dead, and another took over."""
    rest = ((100, SLOTS - 1),)
    dead, alive = Node("old", "host:2", rest, health="fail"), Node("new", "host:3", rest)
    return (Node("one", "host:1", ((0, 99),)),), dead, alive


@pytest.mark.parametrize("resp", [2, 3])
def test_a_whole_cluster_is_read(resp):
    shards, searched = recorded(WHOLE, resp)
    assert [shard[0].slots for shard in shards] == [node.slots for node in searched]
    primaries = [topology.find_living_primary(shard) for shard in shards]
    assert [node.address for node in primaries] == [f"127.0.0.1:{n}" for n in (7833, 7832, 7834)]
    assert primaries == searched
    assert (
        topology.find_uncovered_slots(chain(*shards))
        == topology.find_uncovered_slots(searched)
        == []
    )
    [finding] = check_layout(shards, searched)
    assert (finding.status, finding.text) == (OK, "3 shards with all 16384 slots.")


def test_the_slots_of_a_part_whose_first_node_is_dead_are_told_by_cluster_slots():
    """As three primaries and their replicas of Redis 7.4 said it after one of them was killed."""

    def node(port: int, role: bytes, health: bytes = b"online") -> list:
        said = [b"id", b"id-%d" % port, b"port", port, b"endpoint", b"127.0.0.1"]
        return [*said, b"role", role, b"health", health]

    failed_over = [node(36967, b"master", b"fail"), node(56147, b"master")]
    whole = [node(38637, b"master"), node(41329, b"replica")]
    shards = [[b"slots", [], b"nodes", failed_over], [b"slots", [0, 10921], b"nodes", whole]]
    slots = [
        [0, 10921, [b"127.0.0.1", 38637, b"id-38637", []], [b"127.0.0.1", 41329, b"id-41329", []]],
        [10922, 16383, [b"127.0.0.1", 56147, b"id-56147", []]],
    ]
    read = topology.read_shards(shards, slots)
    assert topology.find_uncovered_slots(chain(*read)) == []
    [finding] = check_layout(read, [])
    assert (finding.status, finding.text[:20]) == (WARNING, "127.0.0.1:36967 died")


@pytest.mark.parametrize("resp", [2, 3])
def test_a_cluster_that_has_lost_a_part_names_its_slots_and_nodes(resp):
    shards, searched = recorded(LOST, resp)
    assert (
        topology.find_uncovered_slots(chain(*shards))
        == topology.find_uncovered_slots(searched)
        == LOST_SLOTS
    )
    [finding] = check_layout(shards, searched)
    assert finding.status == PROBLEM
    assert "slots 300-5760, which 127.0.0.1:7834, 127.0.0.1:7831 had" in finding.text


def test_a_part_that_only_the_coordinator_leaves_out_is_a_problem():
    shards, searched = recorded(WHOLE, 3)
    [finding] = check_layout(shards, searched[:2])
    assert finding.status == PROBLEM
    assert "leaves out the slots 300-5760" in finding.text


def test_a_cluster_whose_coordinator_does_not_tell_is_judged_by_its_nodes():
    assert [finding.status for finding in check_layout(recorded(WHOLE, 3)[0], [])] == [OK]
    assert [finding.status for finding in check_layout(recorded(LOST, 3)[0], [])] == [PROBLEM]


def test_a_dead_primary_that_is_listed_first_is_a_warning(failed_over):
    first, dead, alive = failed_over
    shards = [first, (dead, alive)]
    [finding] = check_layout(shards, [])
    assert finding.status == WARNING
    assert finding.text.startswith("host:2 died")
    assert "CLUSTER FORGET old" in finding.advice


def test_a_dead_node_that_the_coordinator_still_asks_is_a_warning(failed_over):
    first, dead, alive = failed_over
    shards, searched = [first, (alive, dead)], [*first, dead._replace(health="online")]
    assert topology.find_stale_primaries(shards, searched) == [dead]
    assert [finding.status for finding in check_layout(shards, searched)] == [WARNING]


def test_a_dead_node_behind_the_living_primary_harms_nobody(failed_over):
    first, dead, alive = failed_over
    shards, searched = [first, (alive, dead)], [*first, alive]
    assert [finding.status for finding in check_layout(shards, searched)] == [OK]


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        ([], [(0, SLOTS - 1)]),
        ([(1, SLOTS - 2)], [(0, 0), (SLOTS - 1, SLOTS - 1)]),
        ([(500, SLOTS - 1), (0, 99), (50, 399)], [(400, 499)]),
    ],
)
def test_slots_that_nobody_holds_are_told_in_ranges(held, missing):
    nodes = [Node("id", "host:1", (slots,)) for slots in held]
    assert topology.find_uncovered_slots(nodes) == missing


def test_ranges_are_named_for_people():
    assert topology.format_slots([(0, 0), (5, 9)]) == "0, 5-9"
