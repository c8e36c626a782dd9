"""Where output goes and how it looks: JSON alone on stdout, tables that fit a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import fiftyone as fo
import pytest
import reference

from fiftyone_redis.cli import output
from fiftyone_redis.cli.group import Command

RUN_ALL = """
import json, sys
from fiftyone_redis.cli.main import main

for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments, prog_name="fiftyone-redis", standalone_mode=False)
    except SystemExit:
        pass
    print(end="\\0", flush=True)
"""


def run_on_terminal(arguments: list[str], columns: int, **environment: str) -> str:
    """Runs the command line on a terminal of a width, and returns what it prints there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "fiftyone_redis", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **environment},
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # the process has closed it
            break
        printed += read
    os.close(ours)
    process.wait()
    return printed.decode().replace("\r\n", "\n")


def format_on(columns: int | None, heads: list[str], rows: list[list[object]], monkeypatch) -> str:
    monkeypatch.setattr(output, "get_width", lambda: columns)
    return output.format_table(heads, rows)


def test_every_command_prints_its_json_alone(
    run, name, dataset, redis_server, tmp_path, monkeypatch
):
    """FiftyOne prints notices of its own as it is imported and connects."""
    monkeypatch.setenv("FIFTYONE_REDIS_SERVER_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("FIFTYONE_BRAIN_CONFIG_PATH", str(tmp_path / "brain_config.json"))
    file = str(tmp_path / "birds.parquet")
    commands = [
        ["info", name, "key"],
        ["ls"],
        ["create", name, "made", "--embeddings", "vector"],
        ["sync", name, "made"],
        ["search", name, "made", dataset.first().id],
        ["rebuild", name, "made", "--dtype", "float16"],
        ["rename", name, "made", "again"],
        ["export", name, "again", file],
        ["import", file, name, "copy"],
        ["adopt", name, "copy"],
        ["drop", name, "copy", "--yes"],
        ["prune", "--yes"],
        ["doctor"],
        ["enable"],
        ["disable"],
        ["server", "status"],
        ["server", "stop"],
        ["server", "logs"],
        ["app", "install"],
        ["app", "status"],
        ["app", "uninstall"],
    ]
    all_at_once = json.dumps([[*each, "--json"] for each in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, all_at_once], capture_output=True, text=True, check=False
    )
    *printed, rest = done.stdout.split("\0")
    assert rest == "", done.stderr
    assert len(printed) == len(commands)
    values = dict(zip((" ".join(each) for each in commands), map(json.loads, printed), strict=True))
    assert values[f"info {name} key"]["vectors"] == 30
    assert values["app status"]["works"]

    covered = {tuple(part for part in each if part.isalpha())[:2] for each in commands}
    for context in reference.contexts():
        words = tuple(context.command_path.split()[1:])
        if isinstance(context.command, Command) and words not in NEED_MORE:
            assert any(each[: len(words)] == words for each in covered), words


NEED_MORE = {("demo",), ("server", "start"), ("server", "restart")}
"""The commands whose JSON has tests of its own, since they start a server or take long."""


def test_a_terminal_gets_columns_that_fit_and_a_pipe_gets_everything(run, name):
    wide = run_on_terminal(["ls"], 200)
    narrow = run_on_terminal(["ls"], 60)
    assert max(map(len, run_on_terminal(["ls"], 60, NO_COLOR="1").splitlines())) <= 60
    assert "\N{HORIZONTAL ELLIPSIS}" in narrow
    assert f"{name}/key" in wide
    assert "\x1b[1m" in wide
    assert "\x1b" not in run_on_terminal(["ls"], 200, NO_COLOR="1")
    piped = run("ls").stdout.splitlines()
    assert [len(line.split("\t")) for line in piped] == [6, 6]
    assert f"{name}/key" in piped[1]


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_only(run, dataset, monkeypatch):
    fo.Dataset.add_samples(
        dataset,
        [fo.Sample(filepath=f"/{n}.png", vector=[1.0, float(n)] * 4) for n in range(5000)],
    )
    arguments = ["create", dataset.name, "many", "--embeddings", "vector"]
    shown = run_on_terminal(arguments, 100, FIFTYONE_SHOW_PROGRESS_BARS="true")
    assert "5030/5030" in shown
    quiet = run_on_terminal(
        ["sync", dataset.name, "many", "-q"], 100, FIFTYONE_SHOW_PROGRESS_BARS="true"
    )
    assert quiet == ""
    dataset.reload()
    monkeypatch.setattr(fo.config, "show_progress_bars", True)
    piped = run("rebuild", dataset.name, "many", "--dtype", "float16")
    assert piped.output == "Rebuilt as FLAT, cosine, float16.\n"


def test_quiet_commands_print_results_and_errors_only(run, name, dataset):
    dataset.add_sample(fo.Sample(filepath="/new.jpg", vector=[1.0] * 8))
    assert run("sync", name, "key", "--dry-run", "-q").output == "Would add 1.\n"
    assert run("sync", name, "key", "-q").output == ""
    assert run("rename", name, "key", "other", "--quiet").output == ""
    assert "31" in run("info", name, "other", "-q").output
    refused = run("info", name, "key", "-q")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: ")


def test_the_exit_status_tells_errors_from_wrong_usage(run, name, redis_backend):
    assert run("info", name, "key").exit_code == 0
    assert run("info", name, "none").exit_code == 1
    assert run("create", name, "x", "--model", "none-of-the-zoo").exit_code == 1
    assert run("create", name, "not a key", "--embeddings", "vector").exit_code == 1
    assert run("info", name).exit_code == 2
    assert run("info", name, "key", "--port", "0").exit_code == 2
    assert run("import", "a.parquet", "only-the-dataset").exit_code in (1, 2)


def test_numbers_are_aligned_to_the_right_and_ids_to_the_left(monkeypatch):
    rows = [["6a", 1, "1.5 kB"], ["7b0", 1_000, "20.0 MB"]]
    lines = format_on(80, ["ID", "N", "SIZE"], rows, monkeypatch).splitlines()
    assert lines[1:] == ["6a      1   1.5 kB", "7b0  1000  20.0 MB"]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_table_is_as_wide_as_the_terminal_at_most(columns, monkeypatch):
    rows = [
        ["a" * 50, 1, "/data/images/" + "b" * 30 + "/1.jpg"],
        ["\N{HIRAGANA LETTER A}" * 30, 2, "c"],
    ]
    lines = format_on(columns, ["NAME", "N", "FILE"], rows, monkeypatch).splitlines()
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert all(output._measure(line) <= columns for line in plain)
    if columns == 80:
        assert plain[1].endswith("/1.jpg")


def test_a_pipe_gets_a_row_on_each_line_whatever_is_in_it(monkeypatch):
    text = format_on(None, ["NAME", "N"], [["a\tb\nc\x1b[31m", 1]], monkeypatch)
    assert text == "NAME\tN\na?b?c?[31m\t1"
