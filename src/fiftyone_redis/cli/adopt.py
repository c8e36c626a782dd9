"""The command ``adopt``: takes over a run of FiftyOne's own backend."""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import connection_options, load_fiftyone
from fiftyone_redis.cli.group import Command
from fiftyone_redis.cli.options import dataset_argument, key_argument


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis adopt birds images --dry-run    # only say what would change",
        "fiftyone-redis adopt birds images",
        "fiftyone-redis adopt birds images --restore    # undo it",
    ],
)
@dataset_argument
@key_argument
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--restore", "back", is_flag=True, help="Give the run back to FiftyOne's backend.")
@connection_options
def adopt(
    dataset: str, brain_key: str, dry_run: bool, back: bool, connection: dict[str, Any]
) -> None:
    """Take over a run of FiftyOne's own Redis backend, without uploading."""
    load_fiftyone()
    from fiftyone_redis.adoption import adopt as take_over
    from fiftyone_redis.adoption import restore as give_back

    done = (give_back if back else take_over)(dataset, brain_key, dry_run=dry_run, **connection)
    show = output.print_result if dry_run else output.print_done
    show(asdict(done), str(done))
