"""Operators that create, change and delete indexes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import brain_keys, cache, changes, copying, indexes
from fiftyone_redis.app.operators import create_form, forms
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report, follow_bar
from fiftyone_redis.engine.schema.options import COMMON, DTYPES, METRICS, tuning_options
from fiftyone_redis.engine.schema.schema import Schema
from fiftyone_redis.errors import InputError, format_count, list_first
from fiftyone_redis.similarity.sync import SyncResult

_DEFAULT = create_form.NO_FIELD


class _Change(IndexOperator):
    """The base class of these operators, after which the App reads the dataset again."""

    can_be_scheduled = True

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Runs the change."""
        return replace(self.change(ctx, report), then=[ctx.ops.reload_dataset()])

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Runs the change."""
        raise NotImplementedError


class CreateIndex(_Change):
    """Creates an index from vectors in a field or computed by a model."""

    name_ = "create_index"
    label = "Create an index"
    description = "Index samples or patches, by a field's vectors or by a model"
    icon = "add"
    button = "Create"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        metric = create_form.ask(inputs, ctx)
        _ask_settings(ctx, inputs, Schema("unnamed", 1, metric=metric or "cosine"))

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Creates the index."""
        samples, source = create_form.read_target(ctx), ctx.params.get("source")
        key = ctx.params.get("brain_key") or brain_keys.choose_free(ctx.dataset)
        settings = _settings(ctx) | create_form.read_stored_fields(ctx)
        if source == "run":
            index, done = copying.copy(
                samples, key, ctx.params["run"], settings=settings, report=report
            )
            return _describe_added(index, done)
        name, param = ("embeddings_field", "field") if source == "field" else ("model", "model")
        settings |= {name: ctx.params[param], "patches_field": _chosen_field(ctx, "patches_field")}
        size = ctx.params.get("batch_size")
        index, done = changes.create(samples, key, settings, report, size)
        return _describe_added(index, done)


class AddMissing(_Change):
    """Adds the samples or patches that an index lacks."""

    name_ = "add_missing"
    label = "Index missing samples"
    description = "Embed and add the samples or patches that are not in the index"
    icon = "playlist_add"
    button = "Index"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        index = indexes.load_to_show(ctx.dataset, key)
        count = len(cache.cached_difference(index).missing)
        if not count and not ctx.delegated:  # an operation that has waited may find nothing to do
            things = indexes.name_things(index.config)
            text = f"Every one of the {things} of this dataset is in the index."
            forms.say_done(inputs, "Nothing is missing", text)
            return
        things = indexes.count_things(count, index.config)
        inputs.view("count", types.Notice(label=f"{things} will be indexed"))
        source = changes.describe_source(index)
        fields = changes.list_vector_fields(ctx.dataset, index.config.patches_field)
        choices = {_DEFAULT: f"As before: {source}"} if source else {}
        choices |= {field: f"The field {field}" for field in fields}
        if not choices:
            forms.block(
                inputs,
                "Where vectors come from is not known",
                "This index was filled by a program, with vectors of its own. Put the vectors into "
                "a field of the dataset, or call index.add_to_index().",
            )
            return
        forms.pick(inputs, ctx, "field", choices, label="Where vectors come from")

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Adds them."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        return _describe_added(index, changes.add(index, _chosen_field(ctx, "field"), report))


class RemoveGone(_Change):
    """Removes ids that are no longer in the dataset from an index."""

    name_ = "remove_gone"
    label = "Remove stale vectors"
    description = "Remove the vectors of samples or patches that the dataset no longer has"
    icon = "playlist_remove"
    button = "Remove"
    risk = "high"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        count = len(cache.cached_difference(indexes.load_to_show(ctx.dataset, key)).gone)
        if not count and not ctx.delegated:
            forms.say_done(inputs, "Nothing is stale", "All that is indexed is in the dataset.")
            return
        if others := changes.find_others(ctx.dataset, key):
            forms.warn_of_others(inputs, others)
            text = "They search the same index; none of their datasets has these samples."
            forms.confirm(inputs, ctx, _others(key), "Remove them for all of these runs", text)
        label = f"Delete {format_count(count, 'vector')}"
        text = "What they belonged to is no longer in the dataset."
        forms.confirm(inputs, ctx, _sure(key), label, text)

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Removes them."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        count = changes.remove(index, report, force=_agreed_for_others(ctx))
        if not count:
            return Outcome("Nothing is stale.", variant="info")
        return Outcome(f"Removed {format_count(count, 'vector')}.")


class RebuildIndex(_Change):
    """Rebuilds an index with other settings from its vectors."""

    name_ = "rebuild_index"
    label = "Rebuild"
    description = "Change the algorithm, the metric or the type of an index"
    icon = "construction"
    button = "Rebuild"
    risk = "high"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        index = indexes.load_to_show(ctx.dataset, key)
        now = changes.fetch_schema(index)
        inputs.md(
            f"{format_count(index.total_index_size, 'vector')} stay on the server. The old "
            "index answers searches until the new one is complete.",
            name="note",
        )
        _ask_settings(ctx, inputs, now)
        if others := changes.find_others(ctx.dataset, key):
            forms.warn_of_others(inputs, others)
            text = "They search the same index."
            forms.confirm(inputs, ctx, _others(key), "Rebuild it for all of them", text)
        wanted = ctx.params.get("dtype", now.dtype)
        if DTYPES.get(wanted, 8) < DTYPES[now.dtype]:
            label = f"Round the vectors to {wanted}"
            text = "The digits that are lost do not come back."
            forms.confirm(inputs, ctx, forms.name_tick("sure", f"{key} {wanted}"), label, text)

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Rebuilds it."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        report(0, "Rebuilding")
        index.rebuild(
            progress=follow_bar(report, "Indexed"),
            force=_agreed_for_others(ctx),
            **_settings(ctx),
        )
        return Outcome(f"The index {ctx.params['brain_key']!r} is {index.config.algorithm} now.")


class RenameIndex(_Change):
    """Gives an index another brain key."""

    name_ = "rename_index"
    label = "Rename"
    description = "Give an index another brain key"
    icon = "edit"
    button = "Rename"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        new = inputs.str("new_key", label="New name (brain key)")
        wanted = forms.require(inputs, ctx, "new_key", "A new name")
        problem = brain_keys.find_problem(ctx.dataset, wanted) if wanted else None
        if problem:
            forms.mark_invalid(new, problem)

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Renames it."""
        old, new = ctx.params["brain_key"], ctx.params["new_key"]
        report(0, "Renaming")
        ctx.dataset.rename_brain_run(old, new)
        return Outcome(f"The index {old!r} is called {new!r} now.")


class DropIndex(_Change):
    """Deletes an index, its vectors and its brain run."""

    name_ = "drop_index"
    label = "Drop"
    description = "Delete an index, its vectors and its brain run"
    icon = "delete"
    button = "Drop"
    risk = "high"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        summary = next(
            (s for s in changes.fetch_summaries(ctx.dataset) if s.brain_key == key), None
        )
        if summary is None:
            text = (
                "Its vectors cannot be deleted now, since the server does not answer: start it, or "
                "forget the index here and leave them there."
            )
            inputs.view("problem", types.Warning(label="The server is gone", description=text))
            text = "The dataset keeps no trace of it."
            forms.confirm(inputs, ctx, _forget(key), f"Forget {key}", text)
            return
        vectors = format_count(summary.documents or 0, "vector")
        if others := changes.find_others(ctx.dataset, key):
            forms.warn_of_others(inputs, others)
            text = "Without this tick, the vectors stay for these runs."
            forms.tick(inputs, _others(key), f"Delete the {vectors} of all of them", text)
            if not ctx.params.get(_others(key)):
                text = "Its vectors stay on the server."
                forms.confirm(inputs, ctx, _forget(key), f"Forget {key} here", text)
                return
        label = f"Delete {key} and its {vectors}"
        forms.confirm(inputs, ctx, _sure(key), label, "They do not come back; the samples stay.")

    def change(self, ctx: Any, report: Report) -> Outcome:
        """Drops it."""
        key = ctx.params["brain_key"]
        report(0, "Dropping")
        force = _agreed_for_others(ctx)
        forget = bool(ctx.params.get(_forget(key))) and not force
        left = changes.drop(ctx.dataset, key, force, forget)
        return Outcome(f"Dropped {key!r}{'; its vectors are still on the server' if left else ''}.")


OPERATORS = (CreateIndex, AddMissing, RemoveGone, RebuildIndex, RenameIndex, DropIndex)


_sure = partial(forms.name_tick, "sure")
_others = partial(forms.name_tick, "others")
_forget = partial(forms.name_tick, "forget")


def _agreed_for_others(ctx: Any) -> bool:
    """Returns whether it was agreed to change the index for the other runs that use it, too."""
    return bool(ctx.params.get(_others(ctx.params["brain_key"])))


def _ask_settings(ctx: Any, inputs: Any, now: Schema) -> None:
    """Adds inputs for the metric, the data type, and the algorithm with its settings."""
    algorithms, dtypes = changes.fetch_capabilities()
    said = {"FLAT": "FLAT: exact", "HNSW": "HNSW: faster from 100,000 vectors on"}
    labels = {name: said.get(name, name) for name in algorithms}
    chosen = forms.pick(inputs, ctx, "algorithm", labels, now.algorithm, label="Algorithm")
    forms.pick(inputs, ctx, "metric", METRICS.keys(), now.metric, label="Metric")
    types_ = {name: f"{name}: {DTYPES[name]} bytes a value" for name in dtypes}
    forms.pick(inputs, ctx, "dtype", types_, now.dtype, label="Type of the values")
    for option in tuning_options(chosen or now.algorithm):
        forms.ask_option(inputs, ctx, option, getattr(now, option.name))


def _settings(ctx: Any) -> dict[str, Any]:
    """Returns the chosen settings."""
    names = [*COMMON, *(option.name for option in tuning_options(ctx.params.get("algorithm", "")))]
    return {name: ctx.params[name] for name in names if ctx.params.get(name) is not None}


def _chosen_field(ctx: Any, name: str) -> str | None:
    """Returns the chosen field, or None for the choice that stands for no field."""
    value: str | None = ctx.params.get(name)
    return None if value in (None, "", _DEFAULT) else value


def _describe_added(index: Any, done: SyncResult) -> Outcome:
    """Describes what was added to an index.

    Raises:
        InputError: if none could be added
    """
    if not (done.added or done.changed or done.without_vector):
        return Outcome("Nothing is missing.", variant="info")
    again = f", and {len(done.changed):,} again that had changed" if done.changed else ""
    text = f"Indexed {indexes.count_things(len(done.added), index.config)}{again}"
    if not done.without_vector:
        return Outcome(f"{text}.")
    without = done.without_vector
    lack = f"{indexes.count_things(len(without), index.config)} without a vector: "
    lack += f"{list_first(without)}. Check the field, or that the model can read the media files."
    if not done.added and not done.changed:
        raise InputError(f"Nothing was indexed; {lack}")
    return Outcome(f"{text}; {lack}", variant="warning")
