"""The command ``adopt``: takes over a run of FiftyOne's own backend."""
# ruff: noqa: PLC0415

from __future__ import annotations

import click

from fiftyone_redis.cli.group import Command


@click.command(cls=Command)
@click.argument("dataset")
@click.argument("brain_key")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--restore", "back", is_flag=True, help="Give the run back to FiftyOne's backend.")
def adopt(dataset: str, brain_key: str, dry_run: bool, back: bool) -> None:
    """Take over a run of FiftyOne's own Redis backend, uploading nothing."""
    from fiftyone_redis.adoption import adopt as take_over
    from fiftyone_redis.adoption import restore as give_back

    click.echo((give_back if back else take_over)(dataset, brain_key, dry_run=dry_run))
