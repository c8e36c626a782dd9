"""The operator that finds near duplicates within a threshold, chosen on a histogram."""

from __future__ import annotations

from typing import Any

import numpy as np
from fiftyone.operators import types

from fiftyone_redis.app import cache, changes, duplicates, groups, indexes, views
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.app.operators import forms, thresholds
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report, follow_long_work
from fiftyone_redis.errors import format_count
from fiftyone_redis.similarity.dataset_ids import select_all_slices

_SHOW = {
    "beside": "Side by side",
    "stacked": "A tile for each group, which opens the group",
}


class FindNearDuplicates(IndexOperator):
    """Shows all samples or patches that have another one within a threshold."""

    name_ = "find_near_duplicates"
    label = "Find near duplicates"
    description = "Show what has another one within a distance, and tag what can be left out"
    icon = "content_copy"
    button = "Find"
    can_be_scheduled = True

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        index = indexes.load_to_show(ctx.dataset, key)
        found = changes.fetch_distances(index)
        if not len(found.values):
            text = "Fewer than two vectors are in the index; index missing samples first."
            forms.block(inputs, "There is nothing to compare", text)
            return
        threshold = thresholds.ask(inputs, ctx, found, index.config.metric)
        if threshold is not None:
            inputs.view("count", types.Notice(label=describe_count(found, threshold, index)))
        forms.pick(inputs, ctx, "show", _SHOW, label="Show")
        inputs.str(
            "tag",
            label="Tag (optional)",
            description="Tag the duplicates that can be left out: all of a group but one",
        )

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Finds them, and notes their groups."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        threshold, _, _ = thresholds.read(ctx.params, None)
        if threshold is None:
            threshold = changes.fetch_distances(index).suggested
        report(0, "Listing what is in the index")
        with index.use_view(select_all_slices(index.samples)):
            found = duplicates.group(
                index.find_near(threshold, *follow_long_work(report)), threshold
            )
        if len(found.nearest) > 1:
            cache.store_distances(index, Distances(np.sort(found.nearest), len(found.nearest)))
        if not found.ids:
            text = f"Nothing has another one within {threshold:g}; choose a larger threshold."
            return Outcome(text, variant="info")
        report(1, "Making the view")
        view, fields = groups.make_view(index, found, ctx.params.get("show") == "stacked")
        tag = (ctx.params.get("tag") or "").strip()
        if tag:
            views.tag(index, found.duplicates, tag)
        count = format_count(found.groups[-1], "group")
        text = f"{len(found.ids):,} near duplicates in {count}; "
        text += f"{len(found.duplicates):,} can be left out"
        text += f", and are tagged {tag}." if tag else "."
        return Outcome(text, forms.show_view(ctx, view, fields))


OPERATORS = (FindNearDuplicates,)


def describe_count(found: Distances, threshold: float, index: Any) -> str:
    """Describes how many near duplicates a threshold finds.

    Args:
        found: the nearest-neighbour distances
        threshold: the largest distance of near duplicates
        index: the :class:`~fiftyone_redis.backend.RedisSimilarityIndex`
    """
    count = found.count(threshold)
    if not found.exact:
        count = int(float(f"{count:.2g}"))
    things = indexes.count_things(found.documents, index.config)
    text = f"{count:,} of {things} have another one within {threshold:.3g}"
    if found.exact:
        return f"{text}."
    return f"About {text} (estimated from {len(found.values):,} of them)."
