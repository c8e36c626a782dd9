"""What all commands have in common: their options, examples, and how they tell errors."""
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import click

from fiftyone_redis.cli import output


class WithExamples(click.Command):
    """A command whose help ends with examples.

    Args:
        examples: command lines, each with a comment if it needs one
        note: what else its users should know, a paragraph
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), note: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.note = note

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples, and the note."""
        del ctx
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")
        if self.note:
            formatter.write_paragraph()
            formatter.write_text(self.note)


class Command(WithExamples):
    """A command that prints its result alone to stdout, and errors without a traceback."""

    def __init__(
        self, *args: Any, params: Sequence[click.Parameter] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, params=[*(params or ()), *output.make_options()], **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; click prints the error, in one line."""
        from fiftyone_redis.errors import FiftyOneRedisError

        try:
            with output.reserve_stdout():
                return super().invoke(ctx)
        except FiftyOneRedisError as error:
            raise click.ClickException(str(error)) from error


class Group(WithExamples, click.Group):
    """A group of such commands.

    Args:
        sections: its commands by the title of their section, as its help lists them
    """

    command_class = Command
    group_class = type

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Sequence[click.Command]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sections = sections or {}
        for command in chain.from_iterable(self._sections.values()):
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands, in the order in which they were added."""
        del ctx
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the sections."""
        del ctx
        sections = self._sections or {"Commands": [*self.commands.values()]}
        for title, commands in sections.items():
            with formatter.section(title):
                formatter.write_dl([(str(each.name), each.help or "") for each in commands])
