"""The operator that deletes all but one of each group of near duplicates."""

from __future__ import annotations

from typing import Any

from fiftyone_redis.app import cache, groups, indexes
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import InputError


class DeleteNearDuplicates(IndexOperator):
    """Deletes all but one of each group of near duplicates that was found last."""

    name_ = "delete_near_duplicates"
    label = "Delete near duplicates"
    description = "Delete all but one of each group of near duplicates that was found"
    icon = "delete_sweep"
    button = "Delete"
    risk = "high"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        removable, group_count = groups.find_removable(_read_shown(ctx, key), key)
        if not removable:
            text = "Of each group that was found, one is left."
            forms.say_done(inputs, "Nothing is left to delete", text)
            return
        things = _format_things(ctx, key, len(removable))
        text = f"The duplicates of {group_count:,} groups, each of which keeps at least one. They "
        text += "do not come back; their files stay."
        name = forms.name_tick("sure", f"{key} {len(removable)}")
        forms.confirm(inputs, ctx, name, f"Delete {things} from the dataset", text)

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Deletes them."""
        key = ctx.params["brain_key"]
        samples = _read_shown(ctx, key)
        report(0, "Deleting")
        removable, group_count = groups.find_removable(samples, key)
        if not ctx.params.get(forms.name_tick("sure", f"{key} {len(removable)}")):
            raise InputError(
                f"There are {len(removable):,} near duplicates to delete now; open the form again, "
                "and tick that."
            )
        field = indexes.list_runs(ctx.dataset)[key].patches_field
        groups.delete(samples, field, removable)
        cache.clear()
        text = f"Deleted {_format_things(ctx, key, len(removable))} of {group_count:,} groups; "
        text += "their vectors are stale now."
        return Outcome(text, [ctx.ops.reload_dataset()])


OPERATORS = (DeleteNearDuplicates,)


def _read_shown(ctx: Any, brain_key: str) -> Any:
    """Returns what has the groups: the dataset or, for patches, the view of them."""
    if indexes.list_runs(ctx.dataset)[brain_key].patches_field is None:
        return ctx.dataset
    if ctx.view is None or not ctx.view._is_patches:
        raise InputError("No near duplicates are shown; find them first.")
    return ctx.view


def _format_things(ctx: Any, brain_key: str, number: int) -> str:
    config = indexes.list_runs(ctx.dataset)[brain_key]
    return indexes.count_things(number, config)
