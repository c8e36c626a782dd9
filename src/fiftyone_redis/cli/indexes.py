"""The commands ``ls`` and ``prune``: all indexes of the server, and those that no run uses."""
# ruff: noqa: PLC0415

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis.cli.connection import connection_options
from fiftyone_redis.cli.group import Command
from fiftyone_redis.cli.output import print_json, print_table

if TYPE_CHECKING:
    from fiftyone_redis.connection.client import Client
    from fiftyone_redis.engine.inventory import IndexEntry

_OWN = "fiftyone-"  # names that were chosen for a run begin so

_LS_EXAMPLES = """\b
Examples:
  fiftyone-redis ls             all vector indexes, and the runs that use them
  fiftyone-redis ls --json      the same for programs
"""

_PRUNE_EXAMPLES = """\b
Examples:
  fiftyone-redis prune          name what no run uses, and ask
  fiftyone-redis prune --yes    delete it without asking

Only indexes whose names begin with "fiftyone-" are deleted. Runs of other FiftyOne databases are
not known: if the server is shared with one, answer no.
"""


@click.command(cls=Command, epilog=_LS_EXAMPLES)
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def ls(connection: dict[str, Any], as_json: bool) -> None:
    """List the indexes of the server, and the runs that use them."""
    from fiftyone_redis.doctor.findings import format_bytes

    with closing(_connect(connection)) as client:
        entries, users = _list_entries(client)
    if as_json:
        print_json([{**asdict(each), "used_by": users.get(each.name)} for each in entries])
        return
    if not entries:
        click.echo("There are no vector indexes.")
        return
    rows = [
        (
            each.name,
            f"{each.documents:,}",
            format_bytes(each.memory),
            f"{each.algorithm} {each.dtype}[{each.dim}] {each.metric}",
            ", ".join(users.get(each.name) or ["-"]),
        )
        for each in entries
    ]
    print_table(("INDEX", "VECTORS", "MEMORY", "KIND", "USED BY"), rows)


@click.command(cls=Command, epilog=_PRUNE_EXAMPLES)
@connection_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def prune(connection: dict[str, Any], yes: bool) -> None:
    """Delete indexes that were made for brain runs that are gone."""
    from fiftyone_redis.engine import VectorIndex

    with closing(_connect(connection)) as client:
        entries, users = _list_entries(client)
        unused = [each for each in entries if each.name.startswith(_OWN) and each.name not in users]
        if not unused:
            click.echo("Nothing to delete.")
            return
        for each in unused:
            click.echo(f"{each.name}  {each.documents:,} vectors")
        if not yes:
            click.confirm(f"Delete {_count(len(unused))}?", abort=True)
        for each in unused:
            VectorIndex.open(client, each.name).drop()
    click.echo(f"Deleted {_count(len(unused))}.")


def _connect(connection: dict[str, Any]) -> Client:
    from fiftyone_redis import settings
    from fiftyone_redis.doctor.diagnosis import read_configured

    wanted = settings.read({**read_configured(), **connection})
    return settings.open_client(wanted, start=False)


def _list_entries(client: Client) -> tuple[list[IndexEntry], dict[str, list[str]]]:
    """Returns the indexes of a server, and the runs of each that is used."""
    from fiftyone_redis.connection.naming import get_alias
    from fiftyone_redis.doctor.runs import find_runs
    from fiftyone_redis.engine.inventory import list_indexes

    try:
        runs = find_runs()
    except ConnectionError as error:
        raise click.ClickException(f"{error}, so the runs that use indexes are unknown.") from error
    if runs is None:
        raise click.ClickException(
            "FiftyOne's database is not running, so the runs that use indexes are unknown; start "
            "it, for instance with `fiftyone app launch`."
        )
    users: dict[str, list[str]] = {}
    for run in runs:
        users.setdefault(get_alias(run.index_name), []).append(f"{run.dataset}/{run.key}")
    return list_indexes(client), users


def _count(number: int) -> str:
    return f"{number} index{'' if number == 1 else 'es'}"
