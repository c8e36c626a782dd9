"""What the demo prints: one aligned line per step."""

from __future__ import annotations

import click

_STEP, _WHAT, _TIME = 16, 62, 9


def heading(title: str) -> None:
    """Prints the title of a group of steps.

    Args:
        title: the title
    """
    click.echo()
    click.secho(f"{title:<{_STEP + _WHAT}}{'time':>{_TIME}}  same label", bold=True)


def line(step: str, what: str, seconds: float | None = None, share: float | None = None) -> None:
    """Prints one step.

    Args:
        step: its name
        what: what it did
        seconds: how long it took, in seconds, if that is of interest
        share: the share of neighbours that carry the query's label, from 0 to 1, if it is known
    """
    time = "" if seconds is None else _duration(seconds)
    percent = "" if share is None else f"{share:.1%}"
    click.echo(f"{step:<{_STEP}}{what:<{_WHAT}}{time:>{_TIME}}  {percent:>10}".rstrip())


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
