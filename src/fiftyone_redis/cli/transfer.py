"""The commands ``export`` and ``import``: an index in one file."""
# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import connection_options, load_dataset, load_index
from fiftyone_redis.cli.group import Command
from fiftyone_redis.cli.options import dataset_argument, key_argument, yes_option
from fiftyone_redis.errors import format_count

_file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.command(
    "export",
    cls=Command,
    examples=[
        "fiftyone-redis export birds images birds.parquet",
        "fiftyone-redis export birds images birds.arrow",
    ],
    note="The file extension chooses the format: .parquet, or .arrow for Arrow. This needs "
    '`pip install "fiftyone-redis[parquet]"`.',
)
@dataset_argument
@key_argument
@_file_argument
@yes_option
@connection_options
def export_command(
    dataset: str, brain_key: str, file: Path, yes: bool, connection: dict[str, Any]
) -> None:
    """Write an index to a file: vectors, ids, stored fields, settings."""
    from fiftyone_redis.engine.index_file import check_path

    check_path(file)
    if file.exists():
        output.confirm(f"Replace the file {file}?", yes)
    index = load_index(dataset, brain_key, connection)
    from fiftyone_redis.transfer import export_index

    done = export_index(index, file)
    text = f"Exported {format_count(done.vectors, 'vector')} to {file}."
    output.print_done({**asdict(done), "file": file}, text)


@click.command(
    "import",
    cls=Command,
    examples=[
        "fiftyone-redis import birds.parquet",
        "fiftyone-redis import birds.parquet --url redis://elsewhere:6379",
        "fiftyone-redis import birds.parquet birds copy    # into another, new run",
    ],
    note="DATASET and BRAIN_KEY are those of the export, unless others are given. The dataset must "
    "exist, with the same ids. If the import is interrupted, run it again to go on.",
)
@_file_argument
@click.argument("dataset", required=False)
@click.argument("brain_key", required=False)
@yes_option
@click.option("--force", is_flag=True, help="Replace the index even if other runs use it.")
@connection_options
def import_command(
    file: Path,
    dataset: str | None,
    brain_key: str | None,
    yes: bool,
    force: bool,
    connection: dict[str, Any],
) -> None:
    """Read an index from a file into a run, on any server."""
    from fiftyone_redis.engine.index_file import open_file

    with open_file(file) as opened:
        about = opened.header.about
    if dataset is None:
        dataset, brain_key = about["dataset"], about["brain_key"]
    if dataset is None or brain_key is None:
        raise click.UsageError("Give both DATASET and BRAIN_KEY, or neither.")
    loaded = load_dataset(dataset)
    from fiftyone_redis.transfer import count_replaced, import_index

    replaced = count_replaced(loaded, brain_key, file, **connection)
    if replaced:
        vectors = format_count(replaced, "vector")
        output.confirm(f"Delete the {vectors} that {brain_key!r} of {dataset!r} has now?", yes)
    done = import_index(loaded, brain_key, file, replace=True, force=force, **connection)
    text = f"Imported {format_count(done.added, 'vector')} into {brain_key!r} of {dataset!r}."
    if done.added < done.vectors:
        text += f" Already there: {done.vectors - done.added:,}."
    output.print_done({**asdict(done), "file": file}, text)
