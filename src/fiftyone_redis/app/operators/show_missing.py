"""The operator that shows the samples or patches that an index lacks."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import cache, indexes, views
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report

_MOST = 10_000  # ids in a view, which the page sends along with every request


class ShowMissing(IndexOperator):
    """Shows the samples or patches that are not in an index."""

    name_ = "show_missing"
    label = "Show missing samples"
    description = "Show the samples or patches that are not in the index"
    icon = "visibility"
    button = "Show"
    risk = "low"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        forms.pick_index(inputs, ctx)

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Shows them."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        kind = indexes.name_things(index.config)
        report(0, "Looking for missing samples")
        found = cache.cached_difference(index)
        count = len(found.missing)
        if not count:
            text = f"Nothing is missing: all {kind} of this dataset are in the index."
            return Outcome(text, variant="info")
        view = views.make_view(index, found.missing[:_MOST], found.samples[:_MOST])
        text = f"{indexes.count_things(count, index.config)} without a vector"
        if count > _MOST:
            return Outcome(f"The first {_MOST:,} of {text}.", forms.show_view(ctx, view))
        return Outcome(f"{text}.", forms.show_view(ctx, view))


OPERATORS = (ShowMissing,)
