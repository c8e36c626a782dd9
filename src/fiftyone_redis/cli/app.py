"""The commands ``app install``, ``uninstall`` and ``status``: the plugin in FiftyOne's App."""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict

import click

from fiftyone_redis import __version__
from fiftyone_redis.cli import output
from fiftyone_redis.cli.group import Group


@click.group(cls=Group, examples=["fiftyone-redis app install"])
def app() -> None:
    """Install, remove or check the plugin for the FiftyOne App."""


@app.command(examples=["fiftyone-redis app install"])
def install() -> None:
    """Install the plugin in FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import install as install_plugin

    folder = install_plugin()
    output.print_done({"folder": folder}, f"Installed {folder}; restart the App to see it.")


@app.command(examples=["fiftyone-redis app uninstall"])
def uninstall() -> None:
    """Remove the plugin from FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import uninstall as uninstall_plugin

    was_there = uninstall_plugin()
    output.print_done({"uninstalled": was_there}, "Uninstalled." if was_there else "Not installed.")


@app.command(examples=["fiftyone-redis app status"])
def status() -> None:
    """Show the plugin; exit with status 1 if it will not work."""
    from fiftyone_redis.app.install import NAME
    from fiftyone_redis.app.install import status as plugin_status

    found = plugin_status()
    works = found is not None and found.fits and found.enabled
    if found is None:
        text = "Not installed; run `fiftyone-redis app install`."
    elif not found.fits:
        text = (
            f"{found.folder} does not fit version {__version__}; run `fiftyone-redis app install`."
        )
    elif not found.enabled:
        text = f"{found.folder} is disabled; run `fiftyone plugins enable {NAME}`."
    else:
        text = f"Installed {found.folder}, version {__version__}."
    output.print_result({"works": works, **(asdict(found) if found else {})}, text)
    if not works:
        raise click.exceptions.Exit(1)
