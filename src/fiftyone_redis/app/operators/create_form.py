"""The form for a new index: all that ``compute_similarity()`` and this package can do."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import brain_keys, changes, copying, models
from fiftyone_redis.app.operators import forms
from fiftyone_redis.similarity.stored_fields import list_storable

# The choice that stands for no field. The page cannot show an empty text, and no field is named so.
NO_FIELD = "-"

_PROMPTS = "takes text prompts"
_TARGETS = {
    "dataset": "The whole dataset",
    "view": "The current view",
    "selected": "What is selected",
}


def ask(inputs: Any, ctx: Any) -> str | None:
    """Adds the inputs up to the settings of the index.

    Returns:
        the metric of the run that is copied, None if there is none
    """
    dataset = ctx.dataset
    free = brain_keys.choose_free(dataset)
    key = inputs.str("brain_key", default=free, label="Name (brain key)")
    wanted = ctx.params.get("brain_key", free)
    if problem := brain_keys.find_problem(dataset, wanted or ""):
        forms.mark_invalid(key, problem)
    things = {NO_FIELD: "Samples"} | {
        field: f"Patches of {field}" for field in changes.list_patches_fields(dataset)
    }
    chosen = forms.pick(inputs, ctx, "patches_field", things, label="What to index")
    patches_field = None if chosen == NO_FIELD else chosen
    targets = {
        name: label for name, label in _TARGETS.items() if _find_target(ctx, name) is not None
    }
    if len(targets) > 1:
        forms.pick(inputs, ctx, "target", targets, label="Which of them")
    metric = _ask_source(inputs, ctx, patches_field)
    _ask_stored_fields(inputs, dataset, patches_field)
    return metric


def read_target(ctx: Any) -> Any:
    """Returns the dataset, the current view or the selected samples, as chosen."""
    found = _find_target(ctx, ctx.params.get("target") or "dataset")
    return ctx.dataset if found is None else found


def read_stored_fields(ctx: Any) -> dict[str, Any]:
    """Returns the chosen stored fields as a keyword of the config."""
    chosen = ctx.params.get("stored_fields")
    return {"attributes": list(chosen)} if chosen else {}


def _find_target(ctx: Any, name: str) -> Any:
    """Returns a collection that can be indexed; None if it is empty or the same as the dataset."""
    view = ctx.view
    if name == "dataset":
        return ctx.dataset
    if view is None or view._is_generated or view._is_dynamic_groups:
        return None
    if name == "selected":
        return ctx.dataset.select(ctx.selected) if ctx.selected else None
    return None if view == ctx.dataset.view() else view


def _ask_source(inputs: Any, ctx: Any, patches_field: str | None) -> str | None:
    fields = changes.list_vector_fields(ctx.dataset, patches_field)
    runs = copying.list_sources(ctx.dataset, patches_field)
    sources = {"model": "A model makes the vectors"}
    if fields:
        sources = {"field": "A field holds the vectors"} | sources
    if runs:
        sources["run"] = "Another run has the vectors; nothing is embedded"
    source = forms.pick(inputs, ctx, "source", sources, label="Where vectors come from")
    if source == "field":
        forms.pick(inputs, ctx, "field", fields, label="Field")
        return None
    if source == "run":
        labels = {key: f"{key} ({copying.describe_backend(c)})" for key, c in runs.items()}
        run = forms.pick(inputs, ctx, "run", labels, label="Run")
        return copying.find_metric(runs[run or next(iter(runs))])
    _ask_model(inputs, ctx)
    return None


def _ask_model(inputs: Any, ctx: Any) -> None:
    view = types.AutocompleteView(allow_user_input=True)
    for model, prompting in models.list_models().items():
        view.add_choice(model, label=model, description=_PROMPTS if prompting else None)
    default = changes.choose_default_model(ctx.dataset)
    question = inputs.str(
        "model",
        default=default,
        label="Model",
        description="A model of FiftyOne's zoo, by its name; it can embed other pictures later",
        view=view,
    )
    name = ctx.params.get("model", default)
    if not name:
        forms.mark_invalid(question, "Choose a model, or type the name of one.")
        return
    if problem := models.find_problem(name):
        forms.mark_invalid(question, problem)
        return
    prompts = models.takes_prompts(name)
    if prompts is not None:
        text = _PROMPTS if prompts else "takes no text prompts"
        inputs.md(f"`{name}` {text}.", name="prompts_note")
    inputs.int(
        "batch_size",
        min=1,
        label="Batch size (optional)",
        description="How many pictures the model takes at once; less needs less memory",
    )


def _ask_stored_fields(inputs: Any, dataset: Any, patches_field: str | None) -> None:
    view = types.AutocompleteView(allow_user_input=False, allow_duplicates=False)
    for path in list_storable(dataset, patches_field):
        view.add_choice(path, label=path)
    inputs.list(
        "stored_fields",
        types.String(),
        label="Stored fields (optional)",
        description="Fields of the samples for other programs to filter by, beside the vectors",
        view=view,
    )
