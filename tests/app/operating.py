"""Calls the plugin's operators as FiftyOne does, without a page."""

from dataclasses import dataclass
from typing import Any

import fiftyone.core.view as fov
from fiftyone.operators.executor import ExecutionContext, Executor

from fiftyone_redis.app import plugin
from fiftyone_redis.app.jobs import EXPECTED

OPERATORS = {operator.name: operator for kind in plugin.OPERATORS for operator in [kind()]}


@dataclass
class Ran:
    """What an operator returned, and its messages for the App."""

    dataset: Any
    text: str
    variant: str
    messages: dict[str, dict]

    @property
    def view(self) -> Any:
        return fov.DatasetView._build(self.dataset, self.messages["set_view"]["view"])


def context(dataset, params, **more) -> ExecutionContext:
    request = {"dataset_name": dataset.name, "params": params, **more}
    return ExecutionContext(request, executor=Executor())


def run(name: str, dataset, params: dict, **more) -> Ran:
    """Runs an operator here, as `execute_operator()` does."""
    try:
        told = OPERATORS[name].execute(context(dataset, params, **more))
    except EXPECTED as error:
        told = {"text": str(error), "variant": "error", "then": []}
    dataset.reload()
    return Ran(dataset, told["text"], told["variant"], dict(told["then"]))


def form(name: str, dataset, params: dict | None = None, **more) -> dict[str, dict]:
    """Returns the questions of an operator's form, by their names."""
    inputs = OPERATORS[name].resolve_input(context(dataset, params or {}, **more)).to_json()
    return inputs["type"]["properties"]


def refusals(questions: dict[str, dict]) -> list[str]:
    return [one["error_message"] for one in questions.values() if one["invalid"]]
