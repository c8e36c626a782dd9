"""The operator that shows the samples or patches that an index lacks."""

from __future__ import annotations

from functools import partial
from typing import Any

import fiftyone.operators as foo

from fiftyone_redis.app import cache, indexes, views
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.running import Outcome, run_with_progress
from fiftyone_redis.app.progress import Report

_BUTTON = "Show"
_LABEL = "Show missing samples"
_MOST = 10_000  # ids in a view, which the page sends along with every request


class ShowMissing(foo.Operator):
    """Shows the samples or patches that are not in an index."""

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name="show_missing",
            label=f"Redis: {_LABEL}",
            description="Show the samples or patches that are not in the index",
            icon="visibility",
            dynamic=True,
            execute_as_generator=True,
            risk_level="low",
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Returns the form."""
        return forms.form(ctx, _LABEL, _BUTTON, forms.pick_index_alone)

    def execute(self, ctx: Any) -> Any:
        """Shows them."""
        return run_with_progress(ctx, _BUTTON, partial(self._show, ctx))

    def _show(self, ctx: Any, report: Report) -> Outcome:
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        kind = "samples" if index.config.patches_field is None else "patches"
        report(0, "Looking for missing samples")
        found = cache.cached_difference(index)
        count = len(found.missing)
        if not count:
            text = f"Nothing is missing: all {kind} of this dataset are in the index."
            return Outcome(text, variant="info")
        view = views.make_view(index, found.missing[:_MOST], found.samples[:_MOST])
        text = f"{forms.format_count(count, kind)} without a vector"
        if count > _MOST:
            return Outcome(f"The first {_MOST:,} of {text}.", forms.show_view(ctx, view))
        return Outcome(f"{text}.", forms.show_view(ctx, view))


OPERATORS = (ShowMissing,)
