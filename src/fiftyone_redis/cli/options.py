"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from fiftyone_redis.engine.schema.options import ALGORITHMS, DTYPES, METRICS, match_choice

dataset_argument = click.argument("dataset")
key_argument = click.argument("brain_key")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


class _Setting(click.Choice[str]):
    """The values of a setting, in any case and by the server's names of them too."""

    def __init__(self, choices: Mapping[str, str]) -> None:
        super().__init__(list(choices))
        self._known = choices

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns the value as it is spelt here."""
        return super().convert(match_choice(value, self._known), param, ctx)


_SETTINGS = (
    click.option(
        "--algorithm",
        type=_Setting({name: name for name in ALGORITHMS}),
        help="The search algorithm.",
    ),
    click.option("--metric", type=_Setting(METRICS), help="The metric that compares vectors."),
    click.option(
        "--dtype",
        type=_Setting({name: name for name in DTYPES}),
        help="The type of the vectors' values.",
    ),
)


def setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options ``--algorithm``, ``--metric`` and ``--dtype`` to a command."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return command
