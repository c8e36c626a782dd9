"""Findings: the result of one check, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fiftyone_redis.connection.client import Client
from fiftyone_redis.errors import AuthenticationError, ServerError, UnsupportedServerError

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
"""Fine; worth knowing, or could not be checked; works, but is risky or slow; does not work."""

MOST = 3
"""How many offenders a finding names, unless all are wanted."""

_BY_SEVERITY = (PROBLEM, WARNING, NOTE, OK)


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        step: the name of the check
        status: :data:`OK`, :data:`NOTE`, :data:`WARNING` or :data:`PROBLEM`
        text: what was found
        advice: what to do about it; empty if nothing, or if the text says it
    """

    step: str
    status: str
    text: str
    advice: str = ""


def sort(findings: list[Finding]) -> list[Finding]:
    """Returns findings with the worst of each step first; the steps keep their order."""
    steps = list(dict.fromkeys(finding.step for finding in findings))
    return sorted(
        findings,
        key=lambda finding: (steps.index(finding.step), _BY_SEVERITY.index(finding.status)),
    )


def try_execute(client: Client, *command: Any) -> Any:
    """Sends a command and returns its reply; None if the server refuses it."""
    try:
        return client.execute(*command)
    except (AuthenticationError, ServerError, UnsupportedServerError):
        return None


def format_bytes(count: float) -> str:
    """Formats a number of bytes in decimal units: ``"251.0 MB"``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
