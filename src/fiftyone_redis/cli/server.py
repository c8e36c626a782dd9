"""The commands of ``server``, which run a private Redis on this machine."""
# ruff: noqa: PLC0415

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.group import Group

if TYPE_CHECKING:
    from fiftyone_redis.server import PrivateServer

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Use this folder instead of the default one.",
)


@click.group(cls=Group, examples=["fiftyone-redis server start"])
def server() -> None:
    """Run a private Redis on this machine."""


@server.command(
    examples=[
        "fiftyone-redis server start",
        "fiftyone-redis server start --port 6390 --folder /data/redis",
    ]
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Listen on this TCP port of 127.0.0.1 too."
)
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    help="Run this redis-server instead of the one found.",
)
@_folder
def start(port: int | None, program: Path | None, folder: Path | None) -> None:
    """Start the private Redis, unless it runs already."""
    from fiftyone_redis.server import default_folder
    from fiftyone_redis.server import start as start_server

    running = start_server(folder, port=port, program=program)
    lines = [_format(running)]
    if running.folder != default_folder():
        lines.append(f"export FIFTYONE_BRAIN_SIMILARITY_REDIS_URL={shlex.quote(running.url)}")
    output.print_done(asdict(running), "\n".join(lines))


@server.command(examples=["fiftyone-redis server stop"])
@_folder
def stop(folder: Path | None) -> None:
    """Stop the private Redis; its data stays in its folder."""
    from fiftyone_redis.server import stop as stop_server

    stopped = stop_server(folder)
    output.print_done({"stopped": stopped}, "Stopped." if stopped else "Not running.")


@server.command(examples=["fiftyone-redis server restart"])
@_folder
def restart(folder: Path | None) -> None:
    """Stop the private Redis and start it again, on the same port."""
    from fiftyone_redis.server import start as start_server
    from fiftyone_redis.server import status as server_status
    from fiftyone_redis.server import stop as stop_server

    running = server_status(folder)
    stop_server(folder)
    started = start_server(folder, port=running.port if running else None)
    output.print_done(asdict(started), _format(started))


@server.command(examples=["fiftyone-redis server logs --lines 100"])
@click.option(
    "--lines", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many lines."
)
@_folder
def logs(lines: int, folder: Path | None) -> None:
    """Print the last lines of the private Redis's log."""
    from fiftyone_redis.server import read_log

    found = read_log(folder, lines)
    output.print_result(found, "\n".join(found))
    if not found:
        output.print_note("There is no log yet: this private Redis has never run.")


@server.command(examples=["fiftyone-redis server status"])
@_folder
def status(folder: Path | None) -> None:
    """Show the private Redis; exit with status 1 if it is not running."""
    from fiftyone_redis.server import status as server_status

    running = server_status(folder)
    found = asdict(running) if running else {}
    output.print_result(
        {"running": bool(running), **found},
        _format(running) if running else "Not running; `fiftyone-redis server start` starts it.",
    )
    if not running:
        raise click.exceptions.Exit(1)


def _format(running: PrivateServer) -> str:
    rows = [("url", running.url), ("pid", running.pid), ("folder", running.folder)]
    if running.port is not None:
        rows.insert(1, ("port", running.port))
    return output.format_pairs(rows)
