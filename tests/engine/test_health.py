"""What is found of a server: in either protocol, over TLS, and when it goes away."""

import subprocess

import pytest

from fiftyone_redis.engine import Schema, VectorIndex, connect
from fiftyone_redis.engine.health import OK, PROBLEM, WARNING, Finding, examine

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
    assert findings[-1].text.startswith("docs: 0 documents, ")
    assert "1000000 results" in of_step(findings, "limits").text


def test_every_index_is_told(client):
    for name in ("one", "two"):
        VectorIndex.create(client, Schema(name, 4)).add(["a"], [[1, 2, 3, 4]])
    texts = [finding.text for finding in examine(client) if finding.step == "index"]
    assert [text.split(",")[0] for text in texts] == ["one: 1 documents", "two: 1 documents"]


def test_nothing_is_changed(client, index):
    client.config_resetstat()
    examine(client)
    ran = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    read_only = {"echo", "info", "config|get", "config|resetstat", "hello", "client|setinfo"}
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
