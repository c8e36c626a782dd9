"""The command line: what it prints, its exit status, and that it is quick to help."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
import redis
from click.testing import CliRunner, Result

from fiftyone_redis import CONFIG_CLS, __version__
from fiftyone_redis.cli.main import main

# Runs the command line with these arguments, then tells which slow modules that imported.
NAME_IMPORTS = """
import sys
from fiftyone_redis.cli.main import main
main(sys.argv[1:], standalone_mode=False)
print("imported", {"numpy", "redis", "fiftyone"} & sys.modules.keys())
"""
HELP = [sys.executable, "-c", "from fiftyone_redis.cli.main import main; main(['--help'])"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def table(result: Result) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def commands(command: click.Command, name: str = "fiftyone-redis"):
    yield pytest.param(command, id=name)
    for child in getattr(command, "commands", {}).values():
        yield from commands(child, f"{name} {child.name}")


@pytest.fixture
def config(monkeypatch, tmp_path):
    path = tmp_path / "brain_config.json"
    monkeypatch.setenv("FIFTYONE_BRAIN_CONFIG_PATH", str(path))
    return path


@pytest.fixture
def short_folder():
    # A path to a socket may have about 100 characters only, so pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="fr-", dir="/tmp") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def default_folder(monkeypatch, short_folder):
    from fiftyone_redis.server import stop

    folder = short_folder / "default"
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_DIR", str(folder))
    yield folder
    stop(folder)


@pytest.fixture
def other_folder(short_folder):
    from fiftyone_redis.server import stop

    folder = short_folder / "other one"
    yield folder
    stop(folder)


@pytest.mark.parametrize("command", list(commands(main)))
def test_each_command_is_told_in_one_line(command):
    summary = command.help
    assert "\n" not in summary
    assert summary.endswith(".")
    assert len(summary) <= 70


def test_python_runs_the_package_as_the_program():
    command = [sys.executable, "-m", "fiftyone_redis.cli", "--help"]
    assert subprocess.check_output(command, text=True).startswith("Usage: fiftyone-redis ")


def test_version_is_that_of_the_package():
    assert run("--version").output == f"fiftyone-redis, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["server", "-h"], ["enable", "-h"]])
def test_help_is_one_flag_away(arguments):
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def test_help_ends_with_examples_line_by_line():
    assert "\n  fiftyone-redis enable  " in run("--help").output
    assert "\n  fiftyone-redis server start  " in run("--help").output


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["server", "start", "--help"]])
def test_help_imports_nothing_slow(arguments):
    command = [sys.executable, "-c", NAME_IMPORTS, *arguments]
    output = subprocess.check_output(command, text=True)
    assert output.endswith("imported set()\n")


def test_help_is_there_at_once():
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run(HELP, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_wrong_argument_is_a_usage_error():
    assert run("enabled").exit_code == 2
    assert run("server", "start", "--port", "0").exit_code == 2


def test_enable_says_which_file_it_changed(config):
    result = run("enable")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f'Changed {config}: backend="redis" now uses fiftyone-redis.\n'
    assert CONFIG_CLS in config.read_text()


def test_enable_again_says_that_nothing_changed(config):
    run("enable")
    result = run("enable")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Left {config} as it is")


def test_disable_undoes_enable(config):
    run("enable")
    result = run("disable")
    assert result.exit_code == 0
    assert result.stdout == f'Changed {config}: backend="redis" no longer uses fiftyone-redis.\n'
    assert json.loads(config.read_text()) == {}


def test_disable_again_says_that_nothing_changed(config):
    result = run("disable")
    assert result.exit_code == 0
    assert result.stdout == f"Left {config} as it is: fiftyone-redis is not enabled there.\n"


def test_disable_says_what_else_there_is_to_uninstall(
    config, default_folder, monkeypatch, tmp_path
):
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(tmp_path / "plugins"))
    alone = run("disable").stderr.splitlines()
    assert alone[0] == "To uninstall the package too:"
    assert [line[:2] for line in alone[1:]] == ["1.", "2."]
    assert "`fiftyone-redis drop DATASET BRAIN_KEY`" in alone[1]
    assert alone[2] == "2. `pip uninstall fiftyone-redis`."

    run("app", "install")
    run("server", "start")
    lines = run("disable").stderr.splitlines()
    assert f"removes the App's plugin in {tmp_path / 'plugins'}" in lines[2]
    assert lines[3].startswith("3. `fiftyone-redis server stop` ends the private Redis")
    assert lines[3].endswith(str(default_folder))
    assert len(lines) == 5


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_an_error_is_one_line_on_stderr(config, command):
    config.write_text("{")
    result = run(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {config} is not valid JSON (line 1)")
    assert result.stderr.count("\n") == 1


def test_a_started_server_answers_at_its_url(default_folder):
    started = run("server", "start")
    assert (started.exit_code, started.stderr) == (0, "")
    with redis.Redis.from_url(table(started)["url"]) as client:
        assert client.ping()


def test_start_says_where_as_status_does(default_folder):
    started = run("server", "start")
    status = run("server", "status")
    assert (status.exit_code, status.stdout) == (0, started.stdout)
    assert list(table(status)) == ["url", "pid", "folder"]
    assert table(status)["folder"] == str(default_folder)


def test_a_server_is_told_as_json(default_folder):
    assert json.loads(run("server", "status", "--json").stdout) == {"running": False}
    started = json.loads(run("server", "start", "--json").stdout)
    assert list(started) == ["url", "folder", "pid", "port"]
    status = json.loads(run("server", "status", "--json").stdout)
    assert status == {"running": True, **started}
    restarted = json.loads(run("server", "restart", "--json").stdout)
    assert restarted["url"] == started["url"]
    assert json.loads(run("server", "stop", "--json").stdout) == {"stopped": True}
    assert run("server", "start", "-q").output == ""


def test_a_second_start_finds_the_first(default_folder):
    first = run("server", "start")
    assert run("server", "start").stdout == first.stdout


def test_the_table_is_aligned(default_folder):
    lines = run("server", "start").stdout.splitlines()
    assert [line[:8] for line in lines] == ["url     ", "pid     ", "folder  "]


def test_stop_ends_the_server(default_folder):
    url = table(run("server", "start"))["url"]
    result = run("server", "stop")
    assert (result.exit_code, result.stdout) == (0, "Stopped.\n")
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_restarted_server_is_another_process_with_the_same_port_and_data(
    default_folder, free_port
):
    before = table(run("server", "start", "--port", free_port))
    with redis.Redis(port=free_port) as client:
        client.set("kept", "yes")
    after = table(run("server", "restart"))
    assert (after["url"], after["pid"] != before["pid"]) == (before["url"], True)
    with redis.Redis(port=free_port) as client:
        assert client.get("kept") == b"yes"


def test_the_end_of_the_log_is_printed(default_folder):
    assert run("server", "logs").stdout == ""
    run("server", "start")
    lines = run("server", "logs", "-n", "3").stdout.splitlines()
    assert len(lines) == 3
    assert "Ready to accept connections" in run("server", "logs", "-n", "200").stdout


def test_nothing_to_stop_is_no_failure(default_folder):
    result = run("server", "stop")
    assert (result.exit_code, result.stdout) == (0, "Not running.\n")


def test_status_fails_when_nothing_runs(default_folder):
    result = run("server", "status")
    assert (result.exit_code, result.stdout) == (
        1,
        "Not running; `fiftyone-redis server start` starts it.\n",
    )


def test_a_port_is_listened_on(default_folder, free_port):
    assert run("server", "start", "--port", free_port).exit_code == 0
    with redis.Redis(port=free_port) as client:
        assert client.ping()


def test_another_folder_needs_its_url_exported(other_folder, default_folder):
    result = run("server", "start", "--folder", other_folder)
    *shown, export = result.stdout.splitlines()
    script = f'{export}; printf %s "$FIFTYONE_BRAIN_SIMILARITY_REDIS_URL"'
    url = subprocess.check_output(["sh", "-c", script], text=True)
    assert shown[0].split(maxsplit=1) == ["url", url]


def test_another_folder_is_another_server(other_folder, default_folder):
    run("server", "start", "--folder", other_folder)
    assert run("server", "status").exit_code == 1
    assert run("server", "status", "--folder", other_folder).exit_code == 0
    assert run("server", "stop", "--folder", other_folder).stdout == "Stopped.\n"


def test_a_program_that_is_not_there_is_one_line_on_stderr(default_folder, tmp_path):
    result = run("server", "start", "--program", tmp_path / "no-redis-server")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "no-redis-server" in result.stderr
    assert result.stderr.count("\n") == 1
