"""What all commands have in common: how they tell errors."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Any

import click


class Command(click.Command):
    """A command that tells this package's errors without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; click prints the error, in one line."""
        from fiftyone_redis.errors import FiftyOneRedisError

        try:
            return super().invoke(ctx)
        except FiftyOneRedisError as error:
            raise click.ClickException(str(error)) from error


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type
