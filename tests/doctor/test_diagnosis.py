"""What `fiftyone-redis doctor` says of real servers, of settings, and of FiftyOne's runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fiftyone as fo
import pytest
import redis
from click.testing import CliRunner, Result
from redis.backoff import NoBackoff
from redis.retry import Retry
from server_under_test import set_search_limit

from fiftyone_redis import CONFIG_CLS, brain_config, server, settings
from fiftyone_redis.app import install
from fiftyone_redis.app.plugin_check import check_plugin
from fiftyone_redis.cli.main import main
from fiftyone_redis.connection.clients.one_server import Server
from fiftyone_redis.doctor import fiftyone_findings
from fiftyone_redis.doctor.diagnosis import Finding, diagnose
from fiftyone_redis.server.program import Program, build_command, build_environment

DATABASE = os.environ["FIFTYONE_DATABASE_URI"]
VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_"


@pytest.fixture(autouse=True)
def config(monkeypatch, tmp_path):
    """A brain config that enables this package, and no database of FiftyOne's."""
    path = tmp_path / "brain_config.json"
    monkeypatch.setenv("FIFTYONE_BRAIN_CONFIG_PATH", str(path))
    monkeypatch.setenv("FIFTYONE_DATABASE_DIR", str(tmp_path / "no database"))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "config.json"))
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    brain_config.enable(path)
    return path


@pytest.fixture
def own_server(tmp_path, free_port):
    """Starts a server with options of its own, and has the doctor look at it."""
    processes = []

    def own_server(*options: str, modules: bool = True, password: str | None = None) -> redis.Redis:
        wheel = server.find_program()
        program = wheel if modules else Program(wheel.executable, (), wheel.libraries)
        where = ("--port", str(free_port), "--bind", "127.0.0.1", "--save", "")
        where += ("--requirepass", password) if password else ()
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*build_command(program, {}), *where, *options],
                cwd=tmp_path,
                env=build_environment(program, tmp_path),
                stdout=log,
            )
        client = Server(
            "127.0.0.1", free_port, protocol=3, retry=Retry(NoBackoff(), 0), password=password
        )
        processes.append((process, client))
        for _ in range(1000):
            try:
                client.echo("")
                break
            except redis.ConnectionError:
                time.sleep(0.01)
        return client

    yield own_server
    for process, client in processes:
        client.close()
        process.kill()
        process.wait()


@pytest.fixture
def at(monkeypatch):
    """Tells the backend where Redis is, by the environment."""

    def at(url: str) -> None:
        monkeypatch.setenv(f"{VARIABLE}URL", url)

    return at


@pytest.fixture
def here(at, free_port):
    """The free port is where Redis is said to be."""
    at(f"redis://127.0.0.1:{free_port}")


@pytest.fixture
def nothing_set(monkeypatch, free_port):
    """Nothing is said, and the default port is one at which nobody listens."""
    monkeypatch.setattr(settings, "DEFAULT_PORT", free_port)


@pytest.fixture
def private_folder(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="fr-", dir="/tmp")).resolve()
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_DIR", str(folder / "redis"))
    yield folder / "redis"
    server.stop(folder / "redis")
    shutil.rmtree(folder)


def doctor(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *options])


def found(step: str) -> Finding:
    """Returns the worst finding of a step."""
    order = ["ok", "note", "warning", "problem"]
    return max(
        (finding for finding in diagnose() if finding.step == step),
        key=lambda finding: order.index(finding.status),
    )


@pytest.mark.needs("socket")  # which the private server has
def test_all_is_well_with_a_private_server(client, redis_server, at):
    at(redis_server.url)
    result = doctor()
    assert result.exit_code == 0
    assert result.output.endswith("\nIt will work: 0 problems, 0 warnings.\n")
    assert ", search " in result.output
    assert "saved by a log" in result.output


def test_every_line_fits_and_a_pipe_gets_no_colours(redis_server, at):
    at(redis_server.url)
    environment = {**os.environ, "FIFTYONE_BRAIN_CONFIG_PATH": "config.json"}
    program = [sys.executable, "-c", "from fiftyone_redis.cli.main import main; main(['doctor'])"]
    result = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


def test_fiftyone_is_not_imported(redis_server, at):
    at(redis_server.url)
    code = "import sys, fiftyone_redis; fiftyone_redis.doctor.diagnose(); print(*sys.modules)"
    program = [sys.executable, "-c", code]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "fiftyone_redis.doctor.diagnosis" in result.stdout.split()
    assert "fiftyone" not in result.stdout.split()


def test_no_server_at_all(here):
    result = doctor()
    assert result.exit_code == 1
    assert "problem  connection   No Redis answers at 127.0.0.1" in result.output
    assert result.output.endswith("\nIt will not work: 1 problem, 0 warnings.\n")


def test_json_says_the_same_as_python(here):
    result = doctor("--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == [vars(each) for each in diagnose(more=[check_plugin])]
    assert list(json.loads(result.output)[-1]) == ["step", "status", "text", "advice"]


def test_json_of_a_server_that_works_exits_with_0(redis_server, at):
    at(redis_server.url)
    result = doctor("--json")
    assert result.exit_code == 0
    assert "connection" in [finding["step"] for finding in json.loads(result.output)]


def test_a_wrong_password(own_server, at, free_port):
    own_server(password="right")
    at(f"redis://:wr0ng@127.0.0.1:{free_port}")
    result = doctor()
    assert result.exit_code == 1
    assert "refuses these credentials" in result.output
    assert "wr0ng" not in result.output


@pytest.mark.needs("bare")
def test_no_query_engine(own_server, here):
    own_server(modules=False)
    result = doctor()
    assert result.exit_code == 1
    assert "no query engine" in result.output
    assert "Redis Stack or a private one" in " ".join(result.output.split())


def test_another_database_than_0(own_server, at, free_port):
    own_server()
    at(f"redis://127.0.0.1:{free_port}/3")
    assert found("connection").status == "problem"
    assert "db=0" in found("connection").text


def test_a_replica(own_server, here):
    own_server("--replicaof", "127.0.0.1 1")
    assert found("server").status == "problem"
    assert "primary" in found("server").advice


def test_eviction_of_vectors_is_a_warning(own_server, here):
    own_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    result = doctor()
    assert result.exit_code == 0
    assert found("memory").status == "warning"
    assert "-> CONFIG SET maxmemory-policy noeviction" in result.output


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_policies_that_keep_vectors_are_fine(own_server, here, policy):
    own_server("--maxmemory", "100mb", "--maxmemory-policy", policy)
    assert found("memory").status == "ok"
    assert "of at most 104.9 MB" in found("memory").text


def test_full_memory_is_a_problem(own_server, here):
    own_server("--maxmemory", "1")
    assert doctor().exit_code == 1
    assert found("memory").status == "problem"
    assert "searches fail as well" in found("memory").advice


def test_nearly_full_memory_is_a_warning(own_server, here):
    client = own_server()
    client.setrange("filler", 20_000_000, "x")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
    assert found("memory").status == "warning"


def test_no_persistence_is_a_warning(own_server, here):
    own_server()
    assert doctor().exit_code == 0
    assert found("persistence").status == "warning"
    assert "appendonly" in found("persistence").advice


@pytest.mark.parametrize("options", [("--appendonly", "yes"), ("--save", "60 1")])
def test_either_way_of_saving_is_fine(own_server, here, options):
    own_server(*options)
    assert found("persistence").status == "ok"


def test_a_failed_snapshot_is_a_problem(own_server, here, tmp_path):
    client = own_server("--save", "3600 1", "--dbfilename", "dump.rdb")
    (tmp_path / "dump.rdb").mkdir()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.01)
    assert found("persistence").status == "problem"


def test_few_results_are_a_warning(own_server, here):
    client = own_server()
    set_search_limit(client, "max-search-results", 10)
    assert found("limits").status == "warning"


def test_documents_that_are_not_indexed_are_a_warning(own_server, here):
    client = own_server()
    vector = ("VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", 4, "DISTANCE_METRIC", "L2")
    client.execute_command("FT.CREATE", "docs", "PREFIX", 1, "docs:", "SCHEMA", "vector", *vector)
    client.hset("docs:good", "vector", bytes(16))
    assert found("index").status == "ok"
    client.hset("docs:bad", "vector", b"short")
    finding = found("index")
    assert finding.status == "warning"
    assert finding.text.startswith("docs: 1 document, ")
    assert "docs:bad" in finding.text


def test_what_a_user_may_not_know_is_a_note(own_server, at, free_port):
    client = own_server()
    rights = ("~*", "+@all", "-info", "-config")
    client.execute_command("ACL", "SETUSER", "reader", "on", ">word", *rights)
    at(f"redis://reader:word@127.0.0.1:{free_port}")
    assert doctor().exit_code == 0
    assert found("server").text.startswith("Redis ")
    assert found("memory").status == "note"
    assert found("persistence").status == "note"


def test_settings_are_told_with_their_sources_and_without_secrets(
    config, own_server, monkeypatch, free_port
):
    own_server(password="geheim")
    file = json.loads(config.read_text())
    file["similarity_backends"]["redis"].update(host="127.0.0.1", password="wrong one")
    config.write_text(json.dumps(file))
    monkeypatch.setenv(f"{VARIABLE}PORT", str(free_port))
    monkeypatch.setenv(f"{VARIABLE}PASSWORD", "geheim")
    monkeypatch.setenv(f"{VARIABLE}USERNAME", "")
    result = doctor()
    assert result.exit_code == 0
    assert "settings     host = 127.0.0.1 (brain config)\n" in result.output
    assert f"settings     port = {free_port} (environment)\n" in result.output
    assert "settings     password = *** (environment)\n" in result.output
    assert "geheim" not in result.output
    assert "wrong one" not in result.output


def test_settings_that_nothing_reads_are_told_with_what_they_resemble(here, config, monkeypatch):
    monkeypatch.setenv(f"{VARIABLE}PROT", "6380")
    file = json.loads(config.read_text())
    file["similarity_backends"]["redis"]["usernam"] = "geheim"
    config.write_text(json.dumps(file))
    output = doctor().output
    assert "prot (did you mean port?)" in " ".join(output.split())
    assert "usernam (did you mean username?)" in " ".join(output.split())
    assert "geheim" not in output


def test_settings_in_conflict_are_a_problem(here, monkeypatch):
    monkeypatch.setenv(f"{VARIABLE}HOST", "elsewhere")
    assert doctor().exit_code == 1
    assert "url and host are both set" in found("settings").text


def test_a_brain_config_that_is_no_json_is_a_problem(config):
    config.write_text("{")
    assert doctor().exit_code == 1
    assert "not valid JSON" in found("settings").text


def test_where_fiftyone_has_its_own_backend_it_is_a_warning(config, redis_server, at):
    at(redis_server.url)
    brain_config.disable(config)
    assert doctor().exit_code == 0
    assert found("package").status == "warning"
    assert found("package").advice == "fiftyone-redis enable"


def test_where_another_class_is_named_it_is_a_problem(redis_server, at, monkeypatch):
    at(redis_server.url)
    monkeypatch.setenv(f"{VARIABLE}CONFIG_CLS", "other.Config")
    assert doctor().exit_code == 1
    assert "other.Config" in found("package").text
    monkeypatch.setenv(f"{VARIABLE}CONFIG_CLS", CONFIG_CLS)
    assert found("package").status == "ok"


def test_where_the_backend_is_left_out_it_is_a_problem(redis_server, at, monkeypatch):
    at(redis_server.url)
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_BACKENDS", "sklearn,qdrant")
    assert found("package").status == "problem"
    monkeypatch.setenv("FIFTYONE_BRAIN_SIMILARITY_BACKENDS", "*,mine")
    assert found("package").status == "ok"


def test_a_private_server_is_not_started(nothing_set, private_folder):
    result = doctor()
    assert result.exit_code == 0
    assert "will be started when it is needed" in " ".join(result.output.split())
    assert server.status(private_folder) is None


def test_a_private_server_that_runs_is_looked_at(nothing_set, private_folder):
    server.start(private_folder)
    assert doctor().exit_code == 0
    assert any(
        finding.text.startswith(f"The private server in {private_folder} is used, since nothing")
        for finding in diagnose()
    )
    assert found("server").status == "ok"


def test_without_any_redis_server_it_is_a_problem(nothing_set, private_folder, monkeypatch):
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_PROGRAM", "/nowhere/redis-server")
    assert doctor().exit_code == 1
    assert "/nowhere/redis-server" in found("connection").text


def test_a_server_that_refuses_the_backend_is_a_problem_though_there_is_a_private_one(
    own_server, nothing_set, private_folder
):
    own_server(password="right")
    server.start(private_folder)
    assert doctor().exit_code == 1
    assert found("connection").status == "problem"
    assert "refuses" in found("connection").text


def test_ok_never_stands_before_bad_news(here, monkeypatch):
    monkeypatch.setenv(f"{VARIABLE}PROT", "6380")
    assert [each.status for each in diagnose() if each.step == "settings"] == ["warning", "ok"]
    monkeypatch.setenv(f"{VARIABLE}HOST", "elsewhere")
    statuses = [each.status for each in diagnose() if each.step == "settings"]
    assert statuses == ["problem", "warning", "note", "note"]


def test_an_address_on_the_command_line_takes_the_place_of_the_settings(
    here, redis_server, private_folder
):
    assert doctor().exit_code == 1
    result = doctor("--url", redis_server.url)
    assert result.exit_code == 0
    assert f"url = {redis_server.url} (keyword)" in " ".join(result.output.split())


def test_fiftyone_is_told_with_its_version_and_database(redis_server, at, monkeypatch):
    at(redis_server.url)
    assert found("fiftyone").text.startswith(f"{fo.__version__}. Its database is not running")
    assert found("fiftyone").status == "note"
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", DATABASE)
    assert found("fiftyone").status == "ok"
    assert f"{fo.__version__}, with MongoDB " in found("fiftyone").text


def test_another_version_of_fiftyone_is_a_warning(redis_server, at, monkeypatch):
    at(redis_server.url)
    monkeypatch.setattr(fiftyone_findings, "version", lambda _: "1.4.9")
    assert found("fiftyone").status == "warning"
    assert "1.4.9, but this package needs FiftyOne 1.5" in found("fiftyone").text


def test_a_database_that_does_not_answer_is_a_warning(redis_server, at, monkeypatch):
    at(redis_server.url)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:geheim@127.0.0.1:1/")
    assert found("fiftyone").status == "warning"
    assert "geheim" not in doctor().output


def test_the_plugin_of_the_app_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("FIFTYONE_APP_CONFIG_PATH", str(tmp_path / "app_config.json"))
    assert (check_plugin().status, check_plugin().advice) == ("note", "fiftyone-redis app install")

    folder = install.install()
    assert check_plugin().status == "ok"
    assert CliRunner().invoke(main, ["app", "status"]).exit_code == 0

    disabled = {"plugins": {install.NAME: {"enabled": False}}}
    (tmp_path / "app_config.json").write_text(json.dumps(disabled))
    assert check_plugin().status == "warning"
    assert check_plugin().advice == f"fiftyone plugins enable {install.NAME}"
    assert CliRunner().invoke(main, ["app", "status"]).exit_code == 1

    (folder / "fiftyone.yml").write_text(install.manifest().replace("version: ", "version: 0."))
    assert check_plugin().status == "warning"
    assert "does not fit version" in check_plugin().text
