"""The command line: each command parses, calls one function and prints what it returned.

Whatever is slow to import is imported by the command that needs it, so that help is instant.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import shlex
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis import __version__

if TYPE_CHECKING:
    from fiftyone_redis.doctor.diagnosis import Finding
    from fiftyone_redis.server import PrivateServer

_EXAMPLES = """\b
Examples:
  fiftyone-redis enable         use this package for backend="redis" from now on
  fiftyone-redis server start   start a Redis that the backend finds by itself
  fiftyone-redis app install    have its panel in the FiftyOne App
  fiftyone-redis doctor         say whether it will work, and what to do where not
  fiftyone-redis demo           see it at work on handwritten digits
"""


class _Command(click.Command):
    """A command that tells this package's errors in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from fiftyone_redis.errors import FiftyOneRedisError

        try:
            return super().invoke(ctx)
        except FiftyOneRedisError as error:
            raise click.ClickException(str(error)) from error


class _Group(click.Group):
    command_class = _Command
    group_class = type


_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Use this folder, in place of the default one.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
@click.version_option(__version__, prog_name="fiftyone-redis")
def main() -> None:
    """Search FiftyOne datasets with Redis."""


@main.command()
def enable() -> None:
    """Make backend="redis" in FiftyOne use this package."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    if brain_config.enable(path):
        click.echo(f'Changed {path}: backend="redis" now uses fiftyone-redis.')
    else:
        click.echo(f'Left {path} as it is: backend="redis" uses fiftyone-redis already.')


@main.command()
def disable() -> None:
    """Give backend="redis" back to FiftyOne."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    if brain_config.disable(path):
        click.echo(f'Changed {path}: backend="redis" no longer uses fiftyone-redis.')
    else:
        click.echo(f"Left {path} as it is: fiftyone-redis is not enabled there.")


@main.command()
@click.argument("dataset")
@click.argument("brain_key")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--restore", "back", is_flag=True, help="Give the run back to FiftyOne's backend.")
def adopt(dataset: str, brain_key: str, dry_run: bool, back: bool) -> None:
    """Take over a run of FiftyOne's own Redis backend, uploading nothing."""
    from fiftyone_redis.adoption import adopt as take_over
    from fiftyone_redis.adoption import restore as give_back

    click.echo((give_back if back else take_over)(dataset, brain_key, dry_run=dry_run))


@main.command()
@click.option("--dataset", default="digits", show_default=True, help="Load this zoo dataset.")
@click.option("--model", help="Embed with this zoo model, in place of one that fits.")
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the picture into this folder.",
)
@click.option("--app", is_flag=True, help="Open the result in the FiftyOne App.")
def demo(dataset: str, model: str | None, pictures: Path | None, app: bool) -> None:
    """Index and search handwritten digits, or a dataset of FiftyOne's zoo."""
    missing = [name for name in ("matplotlib", "PIL", "sklearn") if not find_spec(name)]
    if missing:
        raise click.ClickException('The demo needs `pip install "fiftyone-redis[demo]"`.')
    from fiftyone_redis.demo import run

    run(dataset, model, pictures=pictures, launch=app)


@main.command()
def doctor() -> None:
    """Check that backend="redis" will work; exit with status 1 if not."""
    from fiftyone_redis.doctor.diagnosis import PROBLEM, WARNING, diagnose, works

    findings = diagnose()
    for finding in findings:
        click.echo(_paragraph(finding))
    told = [finding.status for finding in findings]
    counts = [_counted(told.count(status), status) for status in (PROBLEM, WARNING)]
    verdict = "It will work" if works(findings) else "It will not work"
    click.echo(f"\n{verdict}: {', '.join(counts)}.")
    if not works(findings):
        raise click.exceptions.Exit(1)


@main.group()
def server() -> None:
    """Run a private Redis on this machine."""


@server.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Listen on this TCP port of 127.0.0.1 too."
)
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    help="Run this redis-server, in place of the one found.",
)
@_folder
def start(port: int | None, program: Path | None, folder: Path | None) -> None:
    """Start the private Redis, or find it running."""
    from fiftyone_redis.server import default_folder
    from fiftyone_redis.server import start as start_server

    running = start_server(folder, port=port, program=program)
    click.echo(_table(running))
    if running.folder != default_folder():
        click.echo(f"export FIFTYONE_BRAIN_SIMILARITY_REDIS_URL={shlex.quote(running.url)}")


@server.command()
@_folder
def stop(folder: Path | None) -> None:
    """Stop the private Redis; its data stays in its folder."""
    from fiftyone_redis.server import stop as stop_server

    click.echo("Stopped." if stop_server(folder) else "Not running.")


@server.command()
@_folder
def status(folder: Path | None) -> None:
    """Show the private Redis; exit with status 1 if it is not running."""
    from fiftyone_redis.server import status as server_status

    running = server_status(folder)
    click.echo(_table(running) if running else "Not running.")
    if not running:
        raise click.exceptions.Exit(1)


@main.group(name="app")
def app_plugin() -> None:
    """Have this package's plugin in the FiftyOne App."""


@app_plugin.command()
def install() -> None:
    """Put the plugin into FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import install as install_plugin

    click.echo(f"Installed {install_plugin()}; start the App anew to see it.")


@app_plugin.command()
def uninstall() -> None:
    """Take the plugin out of FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import uninstall as uninstall_plugin

    click.echo("Uninstalled." if uninstall_plugin() else "Not installed.")


@app_plugin.command(name="status")
def app_status() -> None:
    """Show the plugin; exit with status 1 if it is not as it should be."""
    from fiftyone_redis.app.install import status as plugin_status

    found = plugin_status()
    if found is None:
        click.echo("Not installed.")
    elif not found.fits:
        click.echo(f"{found.folder} does not fit version {__version__}: install it again.")
    else:
        click.echo(f"Installed {found.folder}, version {__version__}.")
    if found is None or not found.fits:
        raise click.exceptions.Exit(1)


_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


def _paragraph(finding: Finding) -> str:
    """Returns a finding in lines of 80 columns: status, step, what was found, what to do."""
    head = f"{finding.status:<9}{finding.step:<13}"
    lines = _wrapped(finding.text, head, " " * 22)
    status = click.style(finding.status, fg=_COLOURS[finding.status])
    lines = status + lines[len(finding.status) :]
    if not finding.advice:
        return lines
    return lines + "\n" + _wrapped(finding.advice, " " * 22 + "-> ", " " * 25)


def _wrapped(text: str, first: str, rest: str) -> str:
    wrapper = textwrap.TextWrapper(80, first, rest, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _table(running: PrivateServer) -> str:
    rows = [("url", running.url), ("pid", running.pid), ("folder", running.folder)]
    return "\n".join(f"{name:<6}  {value}" for name, value in rows)
