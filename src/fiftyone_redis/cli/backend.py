"""The commands ``enable`` and ``disable``: which backend FiftyOne uses."""
# ruff: noqa: PLC0415

from __future__ import annotations

import click

from fiftyone_redis.cli.group import Command


@click.command(cls=Command)
def enable() -> None:
    """Make backend="redis" in FiftyOne use this package."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    if brain_config.enable(path):
        click.echo(f'Changed {path}: backend="redis" now uses fiftyone-redis.')
    else:
        click.echo(f'Left {path} as it is: backend="redis" uses fiftyone-redis already.')


@click.command(cls=Command)
def disable() -> None:
    """Give backend="redis" back to FiftyOne."""
    from fiftyone_redis import brain_config

    path = brain_config.locate()
    if brain_config.disable(path):
        click.echo(f'Changed {path}: backend="redis" no longer uses fiftyone-redis.')
    else:
        click.echo(f"Left {path} as it is: fiftyone-redis is not enabled there.")
