"""The operator that measures the rest of the distances that the panel shows."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import changes, indexes
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report


class MeasureDistances(IndexOperator):
    """Measures how far vectors are from their nearest neighbours, for the panel and the forms."""

    name_ = "measure_distances"
    label = "Measure distances"
    description = "Measure how far vectors are from their nearest neighbours, for the histograms"
    icon = "bar_chart"
    button = "Measure"
    risk = "low"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        forms.pick_index(inputs, ctx)

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Measures them."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        found = changes.measure_distances(index, report)
        text = f"Measured the distances of {len(found.values):,} of {found.documents:,} vectors."
        return Outcome(text)


OPERATORS = (MeasureDistances,)
