"""Parts of forms: choices, confirmations, and messages in the place of a form that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import indexes
from fiftyone_redis.engine.options import Option
from fiftyone_redis.errors import FiftyOneRedisError

Ask = Callable[[Any, Any], None]


def form(ctx: Any, title: str, button: str, ask: Ask) -> Any:
    """Returns a form, or in its place what is wrong and what to do.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        title: its title
        button: the label of the button that runs the operator
        ask: adds the questions to the form's ``types.Object``
    """
    inputs = types.Object()
    if ctx.dataset is None:
        block(inputs, "No dataset is open", "Open a dataset first.")
    else:
        try:
            ask(ctx, inputs)
        except FiftyOneRedisError as error:
            block(inputs, "This cannot be done now", str(error))
    view = types.PromptView(label=title, submit_button_label=button)
    return types.Property(inputs, view=view)


def block(inputs: Any, label: str, description: str) -> None:
    """Shows what is wrong, and takes the form's button away.

    Args:
        inputs: the form's ``types.Object``
        label: what is wrong, in a few words
        description: what to do
    """
    inputs.view("problem", types.Error(label=label, description=description))
    mark_invalid(inputs.str("blocked", view=types.HiddenView()), description)


def mark_invalid(question: Any, message: str) -> None:
    """Marks the answer to a question as one that does not do."""
    question.invalid = True
    question.error_message = message


def pick(
    inputs: Any,
    ctx: Any,
    name: str,
    choices: Iterable[str] | Mapping[str, str],
    default: str | None = None,
    **texts: Any,
) -> str | None:
    """Asks for one of several, and returns what is chosen, or would be by default.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        name: the parameter
        choices: its values, with their labels if they have others
        default: which is chosen at first; the first one if it is None or none of them
        **texts: the question's label and description, and whether it is required
    """
    labels = dict(choices) if isinstance(choices, Mapping) else {value: value for value in choices}
    view = types.DropdownView()
    for value, label in labels.items():
        view.add_choice(value, label=label)
    if default not in labels:
        default = next(iter(labels), None)
    chosen = ctx.params.get(name)
    inputs.enum(name, list(labels), default=default, view=view, **texts)
    return chosen if chosen in labels else default


def pick_index(inputs: Any, ctx: Any) -> str | None:
    """Asks which index, and returns its brain key; None, and a message, if there is none."""
    known = {
        key: f"{key} (patches of {config.patches_field})" if config.patches_field else key
        for key, config in indexes.list_runs(ctx.dataset).items()
    }
    if not known:
        block(
            inputs,
            "This dataset has no Redis index",
            "Create one: press Create an index in the Redis panel, or run that operator.",
        )
        return None
    return pick(inputs, ctx, "brain_key", known, label="Index", required=True)


def confirm(inputs: Any, ctx: Any, label: str, description: str) -> None:
    """Asks for a tick before something is lost."""
    question = inputs.bool(
        "sure", label=label, description=description, default=False, view=types.CheckboxView()
    )
    if not ctx.params.get("sure"):
        mark_invalid(question, "Tick this to go on.")


def number(inputs: Any, name: str, default: int, least: int, label: str, text: str = "") -> None:
    """Asks for a whole number."""
    inputs.int(name, min=least, default=default, label=label, description=text)


def ask_option(inputs: Any, ctx: Any, option: Option, now: Any) -> None:
    """Asks for a setting of an index.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        option: the setting
        now: its value if nothing is changed
    """
    name, text = option.name, option.text[0].upper() + option.text[1:]
    if option.choices:
        pick(inputs, ctx, name, option.choices.keys(), now, label=name, description=text)
    else:
        number(inputs, name, now, option.minimum or 0, name, text)


def format_count(count: int, things: str) -> str:
    """Returns a number of things, for instance ``"1,797 samples"`` or ``"1 patch"``."""
    one = {"samples": "sample", "patches": "patch", "vectors": "vector"}[things]
    return f"1 {one}" if count == 1 else f"{count:,} {things}"
