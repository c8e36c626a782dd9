"""The operator that searches with a picture, or with a region of the open sample."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import indexes, pictures
from fiftyone_redis.app.operators import forms, regions
from fiftyone_redis.app.operators.index_operator import IndexOperator
from fiftyone_redis.app.operators.running import Outcome
from fiftyone_redis.app.progress import Report
from fiftyone_redis.errors import InputError

_MOST_BYTES = 20 << 20
_TYPES = ".png,.jpg,.jpeg,.webp,.bmp,.gif,.tif,.tiff"


class SearchWithPicture(IndexOperator):
    """Shows the nearest neighbours of a picture that need not be in the dataset."""

    name_ = "search_with_picture"
    label = "Search with a picture"
    description = "Find what looks like a picture of your own, or like a region of a sample"
    icon = "image_search"
    button = "Search"

    def ask(self, ctx: Any, inputs: Any) -> None:
        """Adds the inputs to the form."""
        key = forms.pick_index(inputs, ctx)
        if key is None:
            return
        config = indexes.list_runs(ctx.dataset)[key]
        sources = {"upload": "Upload a picture", "path": "A file on the server"}
        found = _list_regions(ctx) if config.patches_field else []
        if found:
            sources = {"region": "A region of the sample that is open"} | sources
        source = forms.pick(inputs, ctx, "source", sources, label="Search with")
        if source != "region" and config.model is None:
            forms.block(
                inputs,
                "This index does not know its model",
                "A picture can only be embedded by the model that made the vectors. Make an index "
                "with a model's name, and choose that one.",
            )
            return
        self._ask_picture(inputs, ctx, source, found)
        forms.number(inputs, "k", 25, 1, "How many to find")
        _ask_distance_field(inputs, ctx, config.patches_field)
        if ctx.view is not None and ctx.view != ctx.dataset.view():
            inputs.bool("within", default=False, label="Only search the current view")

    def _ask_picture(
        self, inputs: Any, ctx: Any, source: str | None, found: list[pictures.Region]
    ) -> None:
        if source == "region":
            regions.pick_region(inputs, "region", found)
        elif source == "path":
            inputs.str("path", label="Path of the file")
            forms.require(inputs, ctx, "path", "A path")
        else:
            view = types.FileView(
                max_size=_MOST_BYTES,
                max_size_error_message="The file must be smaller than 20 MB",
                types=_TYPES,
            )
            inputs.define_property("picture", types.UploadedFile(), label="Picture", view=view)
            forms.require(inputs, ctx, "picture", "A picture")

    def work(self, ctx: Any, report: Report) -> Outcome:
        """Searches for the picture."""
        index = indexes.load(ctx.dataset, ctx.params["brain_key"])
        report(0.1, "Embedding the picture")
        vector = _embed_query(ctx, index)
        report(0.6, "Searching")
        dist_field = _read_distance_field(ctx)
        view, shown = pictures.make_nearest_view(
            index,
            vector,
            ctx.params.get("k", 25),
            dist_field=dist_field,
            replace=bool(ctx.params.get(forms.name_tick("replace", dist_field or ""))),
            within=ctx.view if ctx.params.get("within") else None,
        )
        count = len(view)
        found = indexes.count_things(count, index.config)
        text = f"The {found} nearest to it are shown, with their distances as {shown}"
        if dist_field and shown != dist_field:
            text += f"; they are in {dist_field} of the labels, too"
        return Outcome(f"{text}.", forms.show_view(ctx, view, [shown]))


OPERATORS = (SearchWithPicture,)


def _ask_distance_field(inputs: Any, ctx: Any, patches_field: str | None) -> None:
    """Adds an input for the field of the distances, and a checkbox if it holds values."""
    question = inputs.str(
        "dist_field",
        label="Distance field (optional)",
        description="A field of yours to store the distances in. Without one, the grid shows them "
        "too, in a field that the next search replaces",
    )
    name = _read_distance_field(ctx)
    if name is None:
        return
    try:
        path = pictures.find_distance_path(ctx.dataset, patches_field, name)
    except InputError as error:
        forms.mark_invalid(question, str(error))
        return
    if count := pictures.count_values(ctx.dataset, path):
        values = "its value" if count == 1 else f"all of its {count:,} values"
        label = f"Replace the field {path}"
        text = f"It exists; {values} will be deleted before the distances are stored."
        forms.confirm(inputs, ctx, forms.name_tick("replace", name), label, text)


def _read_distance_field(ctx: Any) -> str | None:
    """Returns the name of the field for the distances; None if none was entered."""
    return (ctx.params.get("dist_field") or "").strip() or None


def _list_regions(ctx: Any) -> list[pictures.Region]:
    """Returns the regions of open or selected samples, selected labels first."""
    labels = [label["label_id"] for label in ctx.selected_labels or []]
    samples = [label["sample_id"] for label in ctx.selected_labels or []]
    open_ids = [id for id in [ctx.current_sample, *(ctx.selected or [])] if id]
    if ctx.view is not None and ctx.view._is_patches and open_ids:
        labels += open_ids
        samples += ctx.view.select(open_ids).values("sample_id")
    else:
        samples += open_ids
    if not samples:
        return []
    return pictures.list_regions(ctx.dataset, list(dict.fromkeys(samples)), labels)


def _embed_query(ctx: Any, index: Any) -> Any:
    """Returns the query vector of the filled-in form."""
    source = ctx.params.get("source")
    if source == "path":
        return pictures.embed_file(index, str(ctx.params.get("path") or ""))
    if source != "region":
        return pictures.embed_upload(index, ctx.params.get("picture"))
    wanted = ctx.params.get("region")
    for region in _list_regions(ctx):
        if wanted in (None, region.label_id):
            return pictures.embed_region(index, region)
    raise InputError("The region is no longer open; open its sample, and search again.")
