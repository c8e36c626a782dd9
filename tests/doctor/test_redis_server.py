"""What is found of a server: in either protocol, over TLS, and when it goes away."""

import subprocess

import pytest
import redis
from recorded import reply

from fiftyone_redis.connection import capabilities
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.doctor import findings, indexes, redis_server
from fiftyone_redis.doctor.redis_server import NOTE, OK, PROBLEM, WARNING, Finding, examine
from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.lifecycle import lease
from fiftyone_redis.engine.lifecycle.records import Record
from fiftyone_redis.engine.protocol import commands

REDIS_8 = "redis-8.8-search-8.8.0"
CLUSTER = f"{REDIS_8}-cluster-of-3"

STEPS = ["connection", "tls", "server", "memory", "persistence", "limits", "limits", "index"]


@pytest.fixture
def certificate(tmp_path):
    """The options of a server whose certificate is signed by itself, and that certificate."""
    key, file = tmp_path / "self.key", tmp_path / "self.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", file),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
        ],
        check=True,
        capture_output=True,
    )
    options = ("--tls-cert-file", file, "--tls-key-file", key, "--tls-auth-clients", "no")
    return [str(option) for option in options], str(file)


@pytest.fixture
def tls_server(own_server, certificate):
    options, file = certificate
    return own_server(*options, "--tls-ca-cert-file", file, tls={"ssl_cert_reqs": "none"})


def of_step(findings: list[Finding], step: str) -> Finding:
    return next(finding for finding in findings if finding.step == step)


def test_the_findings_are_the_same_in_either_protocol(speaker, index):
    findings = examine(speaker)
    assert [finding.step for finding in findings] == STEPS
    assert {finding.status for finding in findings} == {OK}
    assert findings[-1].text.startswith(f"docs ({index.schema.server_name}): 0 documents, ")
    assert "1000000 results" in of_step(findings, "limits").text


def test_every_index_is_told(client):
    for name in ("one", "two"):
        VectorIndex.create(client, Schema(name, 4)).add(["a"], [[1, 2, 3, 4]])
    texts = [finding.text for finding in examine(client) if finding.step == "index"]
    assert [text.split()[0] for text in texts] == ["one", "two"]
    assert all("): 1 document, " in text for text in texts)


def test_nothing_is_changed(client, index):
    client.config_resetstat()
    examine(client)
    ran = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    read_only = {"echo", "info", "config|get", "config|resetstat", "hello", "client|setinfo"}
    read_only |= {"get", "scan", "memory|usage"}
    assert ran - read_only <= {"FT.INFO", "FT._LIST", "FT.CONFIG", "_FT.CONFIG"}


@pytest.mark.needs("tls")
def test_tls_that_checks_the_server_is_fine(tls_server, certificate):
    url = f"rediss://localhost:{tls_server.port}"
    with connect(url, ssl_ca_certs=certificate[1]) as client:
        finding = of_step(examine(client), "tls")
    assert finding.status == OK
    assert finding.text.startswith("TLSv1.")


@pytest.mark.needs("tls")
def test_tls_that_does_not_is_a_warning(tls_server):
    with connect(f"rediss://localhost:{tls_server.port}?ssl_cert_reqs=none") as client:
        assert of_step(examine(client), "tls").status == WARNING


def test_no_tls_is_a_warning_unless_the_server_is_here(own_server):
    port = own_server("--protected-mode", "no", "--bind", "0.0.0.0").port
    for host, status in (("127.0.0.1", OK), ("0.0.0.0", WARNING)):
        with connect(host=host, port=port) as client:
            assert of_step(examine(client), "tls").status == status


def test_a_server_that_goes_away_is_a_problem(own_server):
    server = own_server()
    with connect(host="127.0.0.1", port=server.port, retries=0) as client:
        server.kill()
        [finding] = examine(client)
    assert (finding.step, finding.status) == ("connection", PROBLEM)


@pytest.fixture
def replying(monkeypatch):
    """Has some commands answered as recorded, or as a test says; None is a refusal."""

    def replying(answers: dict[tuple[str, ...], object]) -> None:
        def told(client, *command):
            start = next((each for each in answers if command[: len(each)] == each), None)
            return findings.try_execute(client, *command) if start is None else answers[start]

        monkeypatch.setattr(redis_server, "try_execute", told)
        monkeypatch.setattr(indexes, "try_execute", told)

    return replying


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("server", [REDIS_8, CLUSTER])
def test_redis_8_tells_its_limits_as_settings(client, replying, server, resp):
    replying({("CONFIG", "GET", "search-*"): reply(server, resp, "CONFIG", "GET", "search-*")})
    texts = [finding.text for finding in examine(client) if finding.step == "limits"]
    assert texts == [
        "At most 1000000 results of a search (search-max-search-results).",
        "30 s for a query; the server's own 500 ms do not count.",
    ]


def test_few_results_are_raised_by_the_setting_of_redis_8(client, replying):
    settings = {b"search-max-search-results": b"10", b"search-timeout": b"500"}
    replying({("CONFIG", "GET", "search-*"): settings})
    finding = of_step(examine(client), "limits")
    assert finding.status == WARNING
    assert "with CONFIG SET search-max-search-results 1000000" in finding.advice


def test_limits_that_are_not_told_are_a_note(client, replying):
    replying({("CONFIG", "GET", "search-*"): None, ("FT.CONFIG",): None})
    assert of_step(examine(client), "limits").status == NOTE


def test_less_time_than_a_query_gets_is_a_warning(client, index, replying):
    warning = {b"warning": [b"The effective timeout was capped at 2000 ms"], b"results": []}
    settings = reply(REDIS_8, 3, "CONFIG", "GET", "search-*")
    replying({("CONFIG", "GET", "search-*"): settings, ("FT.SEARCH",): warning})
    finding = [finding for finding in examine(client) if finding.step == "limits"][-1]
    assert finding.status == WARNING
    assert "less than 30 s: The effective timeout was capped at 2000 ms." in finding.text


@pytest.mark.parametrize(("workers", "algorithm"), [("0", "HNSW"), ("2", "HNSW"), ("0", "FLAT")])
def test_graphs_that_one_thread_fills_are_a_warning(client, replying, workers, algorithm):
    VectorIndex.create(client, Schema("graph", 4, algorithm=algorithm))
    replying({("CONFIG", "GET", "search-workers"): [b"search-workers", workers.encode()]})
    warned = [each for each in examine(client) if "search-workers" in each.text]
    assert len(warned) == ((workers, algorithm) == ("0", "HNSW"))


def test_an_index_behind_an_alias_is_told_by_the_name_that_people_use(client):
    named(client, "birds~1a2b3c4d", alias="birds")
    [finding] = [finding for finding in examine(client) if finding.step == "index"]
    assert finding.status == OK
    assert finding.text.startswith("birds (birds~1a2b3c4d): 0 documents")


@pytest.mark.parametrize("alias", [True, False])
def test_an_index_that_an_interrupted_rebuild_left_is_a_warning(client, alias):
    if alias:
        named(client, "birds~1a2b3c4d", alias="birds")
    named(client, "birds~0f0f0f0f")
    [finding] = [
        each for each in examine(client) if each.status == WARNING and "birds" in each.text
    ]
    assert finding.text.startswith("birds~0f0f0f0f: no alias leads to it.")
    assert finding.advice.endswith("FT.DROPINDEX birds~0f0f0f0f")


def test_an_index_that_is_being_rebuilt_is_no_warning(client):
    named(client, "birds~1a2b3c4d", alias="birds")
    named(client, "birds~0f0f0f0f")
    record = Record(fields={"vector_0a1b2c3d": "float16"})
    client.set(commands.record_key("birds"), record.to_json())
    with lease.hold(client, "birds"):
        found = [each for each in examine(client) if "birds" in each.text]
    assert [each.status for each in found if "0f0f0f0f" in each.text] == [NOTE]
    assert WARNING not in [each.status for each in found]


def test_fields_that_an_interrupted_change_of_type_left_are_a_warning(client, index):
    record = Record(fields={"vector_0a1b2c3d": "float16"})
    client.set(commands.record_key("docs"), record.to_json())
    [finding] = [each for each in examine(client) if "vector_0a1b2c3d" in each.text]
    assert finding.status == WARNING
    assert finding.text.startswith("docs: documents may hold vectors twice")
    index.drop()
    assert not [each for each in examine(client) if "vector_0a1b2c3d" in each.text]


def test_an_index_that_some_nodes_lack_is_a_problem_that_names_them():
    names, [finding] = indexes.compare_nodes(
        {"host:1": ["birds", "cats"], "host:2": ["cats"], "host:3": ["cats", "birds"]}
    )
    assert (names, finding.status) == (["cats"], PROBLEM)
    assert finding.text.startswith("birds: some nodes of the cluster lack it (host:2)")
    assert "FT.DROPINDEX birds" in finding.advice


@pytest.mark.parametrize("told", [{}, {"num_docs": -4}])
def test_a_number_of_documents_that_cannot_be_is_a_note(told):
    finding = indexes.describe_index("birds", told)
    assert finding.status == NOTE
    assert finding.text.startswith("birds: The server does not report how many documents")


def test_a_node_that_is_lost_keeps_nobody_from_looking_at_the_others(
    client, index, unused_port, monkeypatch
):
    with Server(port=unused_port()) as lost:
        monkeypatch.setattr(client, "list_primaries", lambda: [lost, client])
        found = examine(client)
    assert [each.status for each in found if each.step == "connection"] == [PROBLEM, OK]
    assert [each.status for each in found if each.step == "memory"] == [OK]
    assert found[-1].text.startswith("docs (docs~")


def test_a_search_module_that_is_not_redisearch_is_a_problem(client, monkeypatch):
    said = {"server": "valkey", "version": "9.0.1", "modules": [{"name": "search", "ver": 66048}]}
    monkeypatch.setattr(client, "known_capabilities", capabilities.parse_replies(said))
    finding = of_step(examine(client), "server")
    assert finding.status == PROBLEM
    assert "not RediSearch" in finding.text


def named(client: redis.Redis, name: str, alias: str | None = None) -> None:
    """Makes an empty index of that name, and an alias of it."""
    vector = ("VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", 4, "DISTANCE_METRIC", "L2")
    client.execute_command("FT.CREATE", name, "PREFIX", 1, "birds:", "SCHEMA", "vector", *vector)
    if alias is not None:
        client.execute_command("FT.ALIASADD", alias, name)
