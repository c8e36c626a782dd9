"""Parts of forms: choices, confirmations, and error messages instead of a form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import indexes
from fiftyone_redis.app.markdown import escape
from fiftyone_redis.engine.schema.options import Option
from fiftyone_redis.errors import FiftyOneRedisError

Ask = Callable[[Any, Any], None]


def form(ctx: Any, title: str, button: str, ask: Ask) -> Any:
    """Returns a form, or an error message instead of it.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        title: its title
        button: the label of the button that runs the operator
        ask: adds the inputs to the form's ``types.Object``
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
    """Shows an error, and disables the form's button.

    Args:
        inputs: the form's ``types.Object``
        label: what is wrong, in a few words
        description: what to do
    """
    inputs.view("problem", types.Error(label=label, description=escape(description)))
    _disable(inputs, description)


def say_done(inputs: Any, label: str, description: str) -> None:
    """Says that all is well, and disables the form's button, since there is nothing to do."""
    inputs.view("done", types.Success(label=label, description=description))
    _disable(inputs, label)


def require(inputs: Any, ctx: Any, name: str, what: str) -> Any:
    """Disables the form's button until an input is filled in, and returns what was.

    FiftyOne shows an error at once below an input that is declared as required.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        name: the parameter
        what: what it is, such as "A path"
    """
    value = ctx.params.get(name)
    if not value:
        _disable(inputs, f"{what} is needed.")
    return value


def _disable(inputs: Any, why: str) -> None:
    """Disables the form's button by an input that is hidden and invalid.

    An input that a person has not touched yet is not red.
    """
    mark_invalid(inputs.str("blocked", view=types.HiddenView()), why)


def mark_invalid(question: Any, message: str) -> None:
    """Marks an input as invalid, with a message."""
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
    """Adds a dropdown, and returns the chosen value or the default.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        name: the parameter
        choices: its values, mapped to labels if these differ
        default: the default value; the first choice if it is not among the choices
        **texts: the input's label and description, and whether it is required
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
    """Adds a dropdown of indexes, and returns the chosen brain key; None if there is no index."""
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


def confirm(inputs: Any, ctx: Any, name: str, label: str, description: str) -> None:
    """Adds a checkbox that must be ticked before data is lost; :func:`name_tick` names it."""
    tick(inputs, name, label, description)
    if not ctx.params.get(name):
        _disable(inputs, "Tick this to go on.")


def tick(inputs: Any, name: str, label: str, description: str) -> None:
    """Adds a checkbox; :func:`name_tick` names it."""
    view = types.CheckboxView()
    inputs.bool(name, label=label, description=description, default=False, view=view)


def name_tick(what: str, about: str) -> str:
    """Returns the name of a checkbox, so that a tick holds for one thing only.

    The page keeps a tick while another index or field is chosen in the same form.

    Args:
        what: what is agreed to
        about: the index or field that it is agreed to for
    """
    return f"{what}_{re.sub(r'[^A-Za-z0-9]', '_', about)}"


def show_view(ctx: Any, view: Any, fields: Iterable[str] = ()) -> list[Any]:
    """Returns messages that show a view in the grid, with the values of fields.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        view: the view
        fields (()): the fields to tick in the sidebar, beside those that are
    """
    messages = [ctx.ops.set_view(view=view)]
    if not fields:
        return messages
    shown = getattr(ctx, "active_fields", None) or []
    active = list(dict.fromkeys([*shown, *fields]))
    return [ctx.ops.reload_dataset(), *messages, ctx.ops.set_active_fields(active)]


def warn_of_others(inputs: Any, others: Iterable[object]) -> None:
    """Names the other runs that use an index.

    Args:
        inputs: the form's ``types.Object``
        others: these runs, which ``str()`` describes
    """
    text = escape("; ".join(map(str, others)))
    inputs.view("others_note", types.Warning(label="Other runs use this index", description=text))


def number(inputs: Any, name: str, default: int, least: int, label: str, text: str = "") -> None:
    """Adds an input for a whole number."""
    inputs.int(name, min=least, default=default, label=label, description=text)


def ask_option(inputs: Any, ctx: Any, option: Option, now: Any) -> None:
    """Adds an input for a setting of an index.

    Args:
        inputs: the form's ``types.Object``
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        option: the setting
        now: its current value
    """
    name, text = option.name, option.text[0].upper() + option.text[1:]
    if option.choices:
        pick(inputs, ctx, name, option.choices.keys(), now, label=name, description=text)
    else:
        number(inputs, name, now, option.minimum or 0, name, text)
