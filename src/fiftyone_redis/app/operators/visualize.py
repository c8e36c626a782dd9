"""The operator that computes a visualization for FiftyOne's Embeddings panel."""

from __future__ import annotations

from functools import partial
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from fiftyone_redis.app import brain_keys, indexes, visualization
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.running import Outcome, run_with_progress
from fiftyone_redis.app.progress import Report

_BUTTON = "Compute"
_LABEL = "Compute visualization"


class ComputeVisualization(foo.Operator):
    """Computes a visualization from the vectors of an index."""

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name="compute_visualization",
            label=f"Redis: {_LABEL}",
            description="Show the vectors of an index in the Embeddings panel; nothing is embedded",
            icon="scatter_plot",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            risk_level="medium",
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Returns the form."""
        return forms.form(ctx, _LABEL, _BUTTON, self._ask)

    def execute(self, ctx: Any) -> Any:
        """Computes it."""
        return run_with_progress(ctx, _BUTTON, partial(self._compute, ctx))

    def _ask(self, ctx: Any, inputs: Any) -> None:
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        methods = visualization.list_methods()
        method = forms.pick(inputs, ctx, "method", methods, label="Method")
        if not visualization.has_umap():
            text = "UMAP shows clusters better, and needs a package that is not installed where "
            text += "the App's server runs: `pip install umap-learn`, then restart the App."
            inputs.view("umap_note", types.Notice(label="umap-learn is missing", description=text))
        free = brain_keys.choose_free(ctx.dataset, f"{key}_{method}")
        wanted = ctx.params.get("new_key") or free
        question = inputs.str("new_key", default=free, label="Name (brain key)")
        if problem := brain_keys.find_problem(ctx.dataset, wanted):
            forms.mark_invalid(question, problem)

    def _compute(self, ctx: Any, report: Report) -> Outcome:
        key = ctx.params["brain_key"]
        method = ctx.params.get("method") or next(iter(visualization.list_methods()))
        free = brain_keys.choose_free(ctx.dataset, f"{key}_{method}")
        name = ctx.params.get("new_key") or free
        index = indexes.load(ctx.dataset, key)
        count = visualization.compute(index, name, method, report)
        text = f"Computed {name} of {forms.format_count(count, 'vectors')}; choose it in the "
        text += "Embeddings panel."
        panel = ctx.ops.open_panel("Embeddings", layout="vertical")
        return Outcome(text, [ctx.ops.reload_dataset(), panel])


OPERATORS = (ComputeVisualization,)
