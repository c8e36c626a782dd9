"""The commands ``app install``, ``uninstall`` and ``status``: the plugin in FiftyOne's App."""
# ruff: noqa: PLC0415

from __future__ import annotations

import click

from fiftyone_redis import __version__
from fiftyone_redis.cli.group import Group


@click.group(cls=Group)
def app() -> None:
    """Have this package's plugin in the FiftyOne App."""


@app.command()
def install() -> None:
    """Put the plugin into FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import install as install_plugin

    click.echo(f"Installed {install_plugin()}; restart the App to see it.")


@app.command()
def uninstall() -> None:
    """Take the plugin out of FiftyOne's plugins directory."""
    from fiftyone_redis.app.install import uninstall as uninstall_plugin

    click.echo("Uninstalled." if uninstall_plugin() else "Not installed.")


@app.command()
def status() -> None:
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
