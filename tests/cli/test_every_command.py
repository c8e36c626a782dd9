"""What holds for every command of the command line, and so for the next one too."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import click
import pytest
import reference

PROGRAM = "fiftyone-redis"
CONTEXTS = {context.command_path: context for context in reference.contexts()}
COMMANDS = {
    path: context.command
    for path, context in CONTEXTS.items()
    if not isinstance(context.command, click.Group)
}
WITHOUT_REDIS = {
    f"{PROGRAM} {command}"
    for command in (
        *("enable", "disable", "rename", "server start", "server stop", "server restart"),
        *("server logs", "server status", "app install", "app uninstall", "app status"),
    )
}
"""The commands that use no Redis that a URL could name."""


def names_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("path", CONTEXTS)
def test_a_command_has_an_example_that_it_understands(path):
    examples = CONTEXTS[path].command.examples
    assert examples
    for example in examples:
        assert example.startswith(path)
        arguments = shlex.split(example, comments=True)[1:]
        context = CONTEXTS[PROGRAM]
        while isinstance(context.command, click.Group) and arguments:
            name, command, arguments = context.command.resolve_command(context, arguments)
            context = command.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_can_print_json_and_be_quiet(path):
    assert {"--json", "-q", "--quiet"} <= names_of(COMMANDS[path])


@pytest.mark.parametrize("path", COMMANDS)
def test_a_command_that_uses_redis_takes_its_address(path):
    options = {"--url", "--host", "--port", "--username"}
    assert bool(options <= names_of(COMMANDS[path])) == (path not in WITHOUT_REDIS)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("fiftyone-redis re", {"rebuild", "rename"}),
        ("fiftyone-redis server st", {"start", "stop", "status"}),
        ("fiftyone-redis rebuild birds images --al", {"--algorithm"}),
        ("fiftyone-redis rebuild birds images --algorithm ", {"FLAT", "HNSW", "SVS-VAMANA"}),
    ],
)
def test_a_shell_completes_what_is_typed(typed, completed):
    words = typed.split(" ")
    environment = {
        **os.environ,
        "_FIFTYONE_REDIS_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    answered = subprocess.run(
        [sys.executable, "-m", "fiftyone_redis"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.split(",")[1] for line in answered.stdout.splitlines()} == completed


def test_a_shell_is_told_how_to_complete():
    environment = {**os.environ, "_FIFTYONE_REDIS_COMPLETE": "zsh_source"}
    command = [sys.executable, "-m", "fiftyone_redis"]
    script = subprocess.check_output(command, env=environment, text=True)
    assert "compdef _fiftyone_redis_completion fiftyone-redis" in script
