"""Writes the reference tables of docs/ from the code: settings, and the command line.

A page has a table between `<!-- NAME: written by `make tables` -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import click
import options_table

from fiftyone_redis.cli.group import WithExamples
from fiftyone_redis.cli.main import main
from fiftyone_redis.connection.parameters import NAMES, Parameters
from fiftyone_redis.doctor import algorithms
from fiftyone_redis.doctor.findings import format_bytes
from fiftyone_redis.engine.schema.options import OPTIONS
from fiftyone_redis.engine.search.planner import describe_time
from fiftyone_redis.settings import DEFAULTS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ("cli.md", "settings.md", "how-to/large-datasets.md")

_SIZES = (10_000, 100_000, 1_000_000, 10_000_000)  # vectors, of the table of costs

_BACKEND = ROOT / "src" / "fiftyone_redis" / "backend.py"


def filled(page: str) -> str:
    """Returns a page with its tables as they should be."""
    for name, make in TABLES.items():
        head, end = f"<!-- {name}: written by `make tables` -->\n", f"<!-- end of {name} -->"
        if head in page:
            before, rest = page.split(head)
            page = f"{before}{head}\n{make()}\n{end}{rest.split(end)[1]}"
    return page


def run_table() -> str:
    """Returns the table of the settings of a run that are not options of its index."""
    tree = ast.parse(_BACKEND.read_text())
    [config] = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "RedisSimilarityConfig"
    ]
    described = _arguments(ast.get_docstring(config) or "")
    rows = [(f"`{name}`", text) for name, text in described.items() if name not in OPTIONS]
    return _table(("setting", ""), rows)


def connection_table() -> str:
    """Returns the table of the connection settings."""
    described = _arguments(inspect.getdoc(Parameters) or "")
    rows = [
        (f"`{name}`", f"`..._{name.upper()}`", described[name], _default(DEFAULTS.get(name)))
        for name in NAMES
    ]
    return _table(("keyword", "environment", "meaning", "default"), rows)


def contexts() -> Iterator[click.Context]:
    """Yields each command in its context, groups before their members.

    Click keeps the help option of a command as its first context has it, so these are the contexts
    in which the commands run.
    """
    todo = [click.Context(main, info_name="fiftyone-redis", **main.context_settings)]
    while todo:
        context = todo.pop(0)
        yield context
        command = context.command
        members = command.commands if isinstance(command, click.Group) else {}
        todo[:0] = [
            click.Context(member, parent=context, info_name=name, **member.context_settings)
            for name, member in members.items()
        ]


def commands_text() -> str:
    """Returns the reference of the command line."""
    return "\n".join(map(_command, contexts()))


def costs_table() -> str:
    """Returns the table of what FLAT and HNSW cost at several sizes."""
    rows = []
    for count, name in product(_SIZES, algorithms.MEASURED):
        cost = algorithms.estimate(name, count)
        built, searched = map(describe_time, (cost.build, cost.search))
        recall = "1" if name == "FLAT" else algorithms.RECALL
        size = f"{count:,}" + ("" if count in algorithms.MEASURED[name] else " (computed)")
        rows.append((size, name, built, format_bytes(cost.memory), searched, recall))
    header = ("vectors", "algorithm", "build", "server's memory", "a search", "recall@10")
    return _table(header, rows)


TABLES: dict[str, Callable[[], str]] = {
    "options": options_table.table,
    "run": run_table,
    "connection": connection_table,
    "commands": commands_text,
    "costs": costs_table,
}


def _command(context: click.Context) -> str:
    command, typed = context.command, context.command_path
    usage = " ".join([typed, *command.collect_usage_pieces(context)])
    parts = [f"## `{typed}`", command.help or "", f"    {usage}"]
    records = [option.get_help_record(context) for option in command.params]
    rows = [(f"`{record[0]}`", record[1]) for record in records if record and record[1]]
    if rows:
        parts.append(_table(("option", ""), rows).rstrip())
    if isinstance(command, WithExamples):
        parts += ["Examples:", textwrap.indent("\n".join(command.examples), "    "), command.note]
    return "\n\n".join(filter(None, parts)) + "\n"


def _arguments(docstring: str) -> dict[str, str]:
    """Reads the section "Args" of a docstring in Google's style."""
    section = docstring.split("Args:\n", 1)[1].split("\n\n", 1)[0]
    entries = re.findall(r"^    (\w+)(?: \(None\))?: (.+(?:\n {5,}.+)*)", section, re.MULTILINE)
    return {name: _markdown(text) for name, text in entries}


def _markdown(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "`")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines).replace("|  |", "| |")


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    for name in PAGES:
        path = DOCS / name
        path.write_text(filled(path.read_text()))
