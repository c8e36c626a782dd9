"""The commands ``ls`` and ``prune``: all indexes of the server, and those that no run uses."""
# ruff: noqa: PLC0415

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import connect, connection_options, find_runs
from fiftyone_redis.cli.group import Command
from fiftyone_redis.errors import format_count

if TYPE_CHECKING:
    from fiftyone_redis.connection.client import Client
    from fiftyone_redis.doctor.runs import Run
    from fiftyone_redis.engine.inventory import IndexEntry

_HEADS = ("DATASET/BRAIN KEY", "VECTORS", "MEMORY", "ALGORITHM", "TYPE", "METRIC")


@click.command(
    cls=Command,
    examples=(
        "fiftyone-redis ls           # all vector indexes, and the runs that use them",
        "fiftyone-redis ls --json    # the same for programs",
    ),
    note="An index that no run of this FiftyOne database uses is shown by its name in Redis.",
)
@connection_options
def ls(connection: dict[str, Any]) -> None:
    """List the indexes of the server, and the runs that use them."""
    with closing(connect(connection)) as client:
        entries, users = _list_entries(client)
    found = [
        {
            **asdict(each),
            "used_by": [
                {"dataset": run.dataset, "brain_key": run.key} for run in users.get(each.name, [])
            ],
        }
        for each in entries
    ]
    rows = [_make_row(each, users.get(each.name, [])) for each in entries]
    text = output.format_table(_HEADS, rows) if rows else "There are no vector indexes."
    output.print_result(found, text)
    unused = _choose_unused(entries, users)
    if unused:
        verb = "is" if len(unused) == 1 else "are"
        output.print_note(
            f"{_count(len(unused))} {verb} not used by any run of this FiftyOne database; "
            "`fiftyone-redis prune` names and deletes them, after asking."
        )


@click.command(
    cls=Command,
    examples=(
        "fiftyone-redis prune          # list indexes that no run uses, then ask",
        "fiftyone-redis prune --yes    # delete them without asking",
    ),
    note='Only indexes whose names begin with "fiftyone-" are deleted. Runs in other FiftyOne '
    "databases are not known: if another database uses this server, answer no.",
)
@connection_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def prune(connection: dict[str, Any], yes: bool) -> None:
    """Delete indexes whose brain runs no longer exist."""
    from fiftyone_redis.engine import VectorIndex

    with closing(connect(connection)) as client:
        unused = _choose_unused(*_list_entries(client))
        if not unused:
            output.print_done([], "Nothing to delete.")
            return
        if not yes:
            for each in unused:
                click.echo(f"{each.name}  {format_count(each.documents, 'vector')}", err=True)
        output.confirm(f"Delete {_count(len(unused))}?", yes)
        for each in unused:
            VectorIndex.open(client, each.name).drop()
    names = "\n".join(f"- {each.name}" for each in unused)
    output.print_done([asdict(each) for each in unused], f"Deleted {_count(len(unused))}:\n{names}")


def _make_row(entry: IndexEntry, runs: list[Run]) -> tuple[str, ...]:
    from fiftyone_redis.doctor.findings import format_bytes

    return (
        ", ".join(f"{run.dataset}/{run.key}" for run in runs) or f"(no run) {entry.name}",
        f"{entry.documents:,}",
        format_bytes(entry.memory),
        entry.algorithm,
        f"{entry.dtype}[{entry.dim}]",
        entry.metric,
    )


def _list_entries(client: Client) -> tuple[list[IndexEntry], dict[str, list[Run]]]:
    """Returns the indexes of a server, and the runs of each that is used."""
    from fiftyone_redis.doctor.runs import group_by_index
    from fiftyone_redis.engine.inventory import list_indexes

    users = group_by_index(find_runs())
    return list_indexes(client), users


def _choose_unused(entries: list[IndexEntry], users: dict[str, list[Run]]) -> list[IndexEntry]:
    from fiftyone_redis.doctor.runs import is_unused

    return [each for each in entries if is_unused(each.name, users)]


def _count(number: int) -> str:
    return format_count(number, "index", "indexes")
