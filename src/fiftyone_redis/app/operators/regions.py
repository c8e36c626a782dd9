"""A choice among regions of samples by their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiftyone.operators import types

from fiftyone_redis.app import crops
from fiftyone_redis.app.pictures import Region

# Material UI styles: radio buttons as a grid of tiles, which scrolls if there are many.
_GRID = {
    "display": "grid",
    "gridTemplateColumns": "repeat(auto-fill, minmax(104px, 1fr))",
    "gap": 1,
    "maxHeight": 300,
    "overflowY": "auto",
}
_TEXT = {"fontSize": "0.75rem", "textAlign": "center", "justifyContent": "center"}
_TILE = {
    "m": 0,
    "p": 0.5,
    "flexDirection": "column",
    "alignItems": "center",
    "textAlign": "center",
    "border": "1px solid var(--fo-palette-divider, #555)",
    "borderRadius": 1,
    "& .MuiFormControlLabel-label, & .MuiFormControlLabel-label *": _TEXT,
    "& .MuiRadio-root": {"p": 0.25},
    "&:has(input:checked)": {"outline": "2px solid #ff6d04", "outlineOffset": -2},
}
_PICTURE = {
    "content": '""',
    "order": -1,
    "width": crops.SIZE,
    "height": crops.SIZE,
    "backgroundSize": "contain",
    "backgroundPosition": "center",
    "backgroundRepeat": "no-repeat",
}


def pick_region(inputs: Any, name: str, found: Sequence[Region]) -> None:
    """Adds a choice of a region; the first one is chosen at first.

    The page has no input that shows pictures, so each is the background of a radio button's label.

    Args:
        inputs: the form's ``types.Object``
        name: the parameter
        found: the regions
    """
    pictures = {}
    for number, region in enumerate(found, 1):
        if url := crops.make_crop(region.filepath, region.box):
            image = {"backgroundImage": f'url("{url}")'}
            pictures[f"& > label:nth-of-type({number})::before"] = _PICTURE | image
    view = types.RadioView(
        orientation="horizontal",
        componentsProps={
            "container": {"sx": {"width": "100%"}},
            "radioGroup": {"sx": _GRID | pictures},
            "radioContainer": {"sx": _TILE},
        },
    )
    for region in found:
        view.add_choice(region.label_id, label=region.name, description=region.text)
    ids = [region.label_id for region in found]
    inputs.enum(name, ids, default=ids[0], label="Region", view=view)
