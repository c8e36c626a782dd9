"""The operator that deletes all but one of each group of near duplicates."""

from __future__ import annotations

from functools import partial
from typing import Any

import fiftyone.operators as foo

from fiftyone_redis.app import cache, groups, indexes
from fiftyone_redis.app.operators import forms
from fiftyone_redis.app.operators.running import Outcome, run_with_progress
from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import InputError

_BUTTON = "Delete"
_LABEL = "Delete near duplicates"


class DeleteNearDuplicates(foo.Operator):
    """Deletes all but one of each group of near duplicates that was found last."""

    @property
    def config(self) -> Any:
        """The operator's config."""
        return foo.OperatorConfig(
            name="delete_near_duplicates",
            label=f"Redis: {_LABEL}",
            description="Delete all but one of each group of near duplicates that was found",
            icon="delete_sweep",
            dynamic=True,
            execute_as_generator=True,
            risk_level="high",
        )

    def resolve_input(self, ctx: Any) -> Any:
        """Returns the form."""
        return forms.form(ctx, _LABEL, _BUTTON, self._ask)

    def execute(self, ctx: Any) -> Any:
        """Deletes them."""
        return run_with_progress(ctx, _BUTTON, partial(self._delete, ctx))

    def _ask(self, ctx: Any, inputs: Any) -> None:
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

    def _delete(self, ctx: Any, report: Report) -> Outcome:
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
    return forms.format_count(number, "samples" if config.patches_field is None else "patches")
