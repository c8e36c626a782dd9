"""The command ``doctor``: prints what was found, for people or as JSON."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fiftyone_redis.cli.group import Command

if TYPE_CHECKING:
    from fiftyone_redis.doctor import Finding

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a list of objects.")
def doctor(as_json: bool) -> None:
    """Check that backend="redis" will work; exit with status 1 if not."""
    from fiftyone_redis.doctor import diagnose, works

    findings = diagnose()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        click.echo(_report(findings))
    if not works(findings):
        raise click.exceptions.Exit(1)


def _report(findings: list[Finding]) -> str:
    """Returns the findings, one after the other, and the verdict."""
    from fiftyone_redis.doctor import PROBLEM, WARNING, works

    paragraphs = map(_paragraph, findings)
    statuses = [finding.status for finding in findings]
    counts = [_counted(statuses.count(status), status) for status in (PROBLEM, WARNING)]
    verdict = "It will work" if works(findings) else "It will not work"
    return "\n".join([*paragraphs, f"\n{verdict}: {', '.join(counts)}."])


def _paragraph(finding: Finding) -> str:
    """Returns a finding in lines of 80 columns: status, step, what was found, what to do."""
    head = f"{finding.status:<9}{finding.step:<13}"
    lines = _wrapped(finding.text, head, " " * 22)
    status = click.style(finding.status, fg=_COLOURS[finding.status])
    lines = status + lines[len(finding.status) :]
    if not finding.advice:
        return lines
    return lines + "\n" + _wrapped(finding.advice, " " * 22 + "-> ", " " * 25)


def _wrapped(text: str, first: str, rest: str) -> str:
    wrapper = textwrap.TextWrapper(80, first, rest, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
