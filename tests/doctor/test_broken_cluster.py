"""What is found of a cluster that lacks a part, or moves slots: at once, however patient one is."""

import time

import pytest
from playback import GONE, KILLED, MIGRATING

from fiftyone_redis.connection.retry import RetryPolicy
from fiftyone_redis.doctor.findings import NOTE, OK, PROBLEM, WARNING
from fiftyone_redis.doctor.redis_server import examine
from fiftyone_redis.engine import VectorIndex, connect

SOON = 15  # seconds; a patient client waits twice as long for each answer


@pytest.fixture
def patient_client(cluster_client):
    cluster_client.retry = RetryPolicy(20, 30)
    return cluster_client


def statuses(findings, step):
    return [finding.status for finding in findings if finding.step == step]


@pytest.mark.parametrize("state", [KILLED, GONE])
@pytest.mark.parametrize("knows_it", [True, False])
def test_a_part_that_is_lost_is_named_soon(played, patient_client, state, knows_it):
    VectorIndex.open(patient_client, "a")
    played.state = state
    [lost] = played.dead()
    alive = next(node for node in played.nodes if node.is_alive)
    began = time.monotonic()
    if knows_it:
        findings = examine(patient_client)
    else:
        with connect(host="127.0.0.1", port=alive.port) as client:
            findings = examine(client)
    assert time.monotonic() - began < SOON
    [cluster] = [finding for finding in findings if finding.step == "cluster"]
    assert cluster.status == PROBLEM
    assert f"127.0.0.1:{lost.port}" in cluster.text
    assert played.slots(lost)[0] in cluster.text
    [unasked] = [finding for finding in findings if finding.step in ("limits", "index")]
    assert unasked.status == NOTE
    assert "not looked at" in unasked.text


def test_slots_on_the_move_are_told_soon(played, patient_client):
    played.state = MIGRATING
    began = time.monotonic()
    findings = examine(patient_client)
    assert time.monotonic() - began < SOON
    assert statuses(findings, "cluster") == [WARNING]
    assert "slots are on the move" in findings[-1].text


def test_a_part_that_is_lost_while_indexes_are_looked_at_ends_it(played, patient_client):
    def lose():
        played.state = GONE

    began = time.monotonic()
    played.answer(lambda words: words[0] == "FT.INFO" and lose(), b"")
    findings = examine(patient_client)
    assert time.monotonic() - began < SOON
    assert (findings[-1].step, findings[-1].status) == ("index", PROBLEM)
    assert "does not answer" in findings[-1].text


def test_a_cluster_that_is_well_is_asked_everything(played, patient_client):
    played.answer(lambda words: words[0] == "GET", b"_\r\n")
    findings = examine(patient_client)
    assert statuses(findings, "cluster") == [OK]
    assert any(finding.text.startswith("a: 20 documents") for finding in findings)
