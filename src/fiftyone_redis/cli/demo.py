"""The command ``demo``: shows the backend at work."""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import (
    configure,
    connection_options,
    load_fiftyone,
    telling_errors,
)
from fiftyone_redis.cli.group import Command

if TYPE_CHECKING:
    from fiftyone_redis.demo.report import Entry


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis demo",
        "fiftyone-redis demo --app       # open the result in the FiftyOne App",
        "fiftyone-redis demo --remove    # remove what it left in FiftyOne, in Redis and on disk",
    ],
)
@click.option("--dataset", default="digits", show_default=True, help="Load this zoo dataset.")
@click.option("--model", help="Embed with this zoo model, instead of the default one.")
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the picture of the results in this folder.",
)
@click.option("--app", is_flag=True, help="Open the result in the FiftyOne App.")
@click.option("--remove", is_flag=True, help="Remove everything that earlier demos left.")
@connection_options
def demo(
    dataset: str,
    model: str | None,
    pictures: Path | None,
    app: bool,
    remove: bool,
    connection: dict[str, Any],
) -> None:
    """Index and search handwritten digits, or a dataset of FiftyOne's zoo."""
    missing = [name for name in ("matplotlib", "PIL", "sklearn") if not find_spec(name)]
    if missing:
        raise click.ClickException('The demo needs `pip install "fiftyone-redis[demo]"`.')
    load_fiftyone()
    from fiftyone_redis import demo as demo_package
    from fiftyone_redis.demo.report import reporting
    from fiftyone_redis.server import status

    entries: list[Entry] = []

    def show(entry: Entry) -> None:
        entries.append(entry)
        output.print_part(str(entry))

    configure(connection)
    was_running = status() is not None
    with reporting(show), telling_errors():
        if remove:
            demo_package.remove()
        else:
            demo_package.run(dataset, model, pictures=pictures, launch=app)
    output.print_result(_group(entries), "")
    if status() is not None and not was_running:
        output.print_note(
            "The private Redis started by the demo is still running; `fiftyone-redis server stop` "
            "stops it."
        )


def _group(entries: list[Entry]) -> list[dict[str, Any]]:
    """Returns the steps, each with the heading that it is under."""
    steps, heading = [], ""
    for entry in entries:
        if entry.columns is not None:
            heading = entry.step
            continue
        step = asdict(entry)
        del step["columns"]
        steps.append({"heading": heading, **step})
    return steps
