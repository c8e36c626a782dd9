"""The base class of the operators that ask for an index in a form, and then work on it."""

from __future__ import annotations

from functools import partial
from typing import Any

import fiftyone.operators as foo

from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.running import Outcome, run_with_progress
from fiftyone_redis.app.progress import Report


class IndexOperator(foo.Operator):
    """An operator with a form, whose work is a job.

    Attributes:
        name_: its name in FiftyOne
        label: the title of its form
        description: a sentence for FiftyOne's list of operators
        icon: a Material icon
        button: the label of the form's button, and what the work is called in a sentence
        risk: FiftyOne's risk level
        can_be_scheduled: whether FiftyOne offers to run it as a delegated operation
    """

    name_ = ""
    label = ""
    description = ""
    icon = ""
    button = ""
    risk = "medium"
    can_be_scheduled = False

    @property
    def name(self) -> str:
        """The operator's name."""
        return self.name_

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name=self.name_,
            label=f"Redis: {self.label}",
            description=self.description,
            icon=self.icon,
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=self.can_be_scheduled,
            risk_level=self.risk,
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Returns the form."""
        return forms.form(ctx, self.label, self.button, self.ask)

    def execute(self, ctx: Any) -> Any:
        """Does the work, and yields messages to the App."""
        return run_with_progress(ctx, self.button, partial(self.work, ctx))

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        raise NotImplementedError

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Does the work.

        Raises:
            FiftyOneRedisError: if it fails
        """
        raise NotImplementedError
