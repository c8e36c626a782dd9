"""The operator that computes a visualization for FiftyOne's Embeddings panel."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import brain_keys, indexes, visualization
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import format_count


class ComputeVisualization(IndexOperator):
    """Computes a visualization from the vectors of an index."""

    name_ = "compute_visualization"
    label = "Compute visualization"
    description = "Show the vectors of an index in the Embeddings panel; nothing is embedded"
    icon = "scatter_plot"
    button = "Compute"
    can_be_scheduled = True

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
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

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Computes it."""
        key = ctx.params["brain_key"]
        method = ctx.params.get("method") or next(iter(visualization.list_methods()))
        free = brain_keys.choose_free(ctx.dataset, f"{key}_{method}")
        name = ctx.params.get("new_key") or free
        index = indexes.load(ctx.dataset, key)
        count = visualization.compute(index, name, method, report)
        text = f"Computed {name} of {format_count(count, 'vector')}; choose it in the "
        text += "Embeddings panel."
        panel = ctx.ops.open_panel("Embeddings", layout="vertical")
        return Outcome(text, [ctx.ops.reload_dataset(), panel])


OPERATORS = (ComputeVisualization,)
