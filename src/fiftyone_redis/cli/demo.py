"""The command ``demo``: shows the backend at work."""
# ruff: noqa: PLC0415

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from fiftyone_redis.cli.group import Command


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis demo",
        "fiftyone-redis demo --app       # open the result in the FiftyOne App",
    ],
)
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
