"""The command ``doctor``: prints what was found, for people or as JSON."""
# ruff: noqa: PLC0415

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fiftyone_redis.cli import output
from fiftyone_redis.cli.connection import connection_options
from fiftyone_redis.cli.group import Command
from fiftyone_redis.errors import format_count

if TYPE_CHECKING:
    from fiftyone_redis.doctor import Finding

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_WIDTHS = (60, 120)  # the narrowest and the widest report
_INDENT = 22


@click.command(
    cls=Command,
    examples=[
        "fiftyone-redis doctor",
        "fiftyone-redis doctor -q       # leave out what is fine",
        "fiftyone-redis doctor --all    # name all runs and indexes, not the first three",
    ],
    note="The exit status is 0 if there is no problem; warnings do not change it.",
)
@click.option(
    "--all", "name_all", is_flag=True, help="Name all runs and indexes, not the first three."
)
@connection_options
def doctor(connection: dict[str, Any], name_all: bool) -> None:
    """Check that backend="redis" will work; exit with status 1 if not."""
    from fiftyone_redis.app.plugin_check import check_plugin
    from fiftyone_redis.doctor import diagnose, works

    findings = diagnose(name_all=name_all, more=[check_plugin], **connection)
    output.print_result([asdict(finding) for finding in findings], _report(findings))
    if not works(findings):
        raise click.exceptions.Exit(1)


def _report(findings: list[Finding]) -> str:
    """Returns the findings, one after the other, and the verdict."""
    from fiftyone_redis.doctor import OK, PROBLEM, WARNING, works

    narrowest, widest = _WIDTHS
    width = min(max(output.get_width() or 80, narrowest), widest)
    shown = [each for each in findings if each.status != OK or not output.is_quiet()]
    paragraphs = [_paragraph(finding, width) for finding in shown]
    statuses = [finding.status for finding in findings]
    counts = [format_count(statuses.count(status), status) for status in (PROBLEM, WARNING)]
    verdict = "It will work" if works(findings) else "It will not work"
    return "\n".join([*paragraphs, f"\n{verdict}: {', '.join(counts)}."])


def _paragraph(finding: Finding, width: int) -> str:
    """Returns a finding in lines: status, step, what was found, what to do."""
    head = f"{finding.status:<9}{finding.step:<13}"
    lines = _wrap(finding.text, width, head, " " * _INDENT)
    status = click.style(finding.status, fg=_COLOURS[finding.status])
    lines = status + lines[len(finding.status) :]
    if not finding.advice:
        return lines
    first, rest = f"{' ' * _INDENT}-> ", " " * (_INDENT + 3)
    return lines + "\n" + _wrap(finding.advice, width, first, rest)


def _wrap(text: str, width: int, first: str, rest: str) -> str:
    wrapper = textwrap.TextWrapper(
        width, first, rest, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.fill(text)
