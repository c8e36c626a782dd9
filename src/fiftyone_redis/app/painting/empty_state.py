"""What the panel shows for a dataset without an index."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from fiftyone.operators import types

# Material's icon "storage", in the colour of FiftyOne's own empty panels.
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="#ff6d04"><path d="'
    "M2 20h20v-4H2v4zm2-3h2v2H4v-2zM2 4v4h20V4H2zm4 3H4V5h2v2zm-4 7h20v-4H2v4zm2-3h2v2H4v-2z"
    '"/></svg>'
)
_ICON = f"data:image/svg+xml;base64,{base64.b64encode(_SVG.encode()).decode()}"
_CENTRED = {"container": {"sx": {"textAlign": "center"}}}
_PICTURE = {"image": {"style": {"display": "block", "width": 56, "margin": "0 auto"}}}


def paint(panel: Any, others: Mapping[str, str]) -> None:
    """Adds an icon, a sentence and a link.

    Args:
        panel: the panel's ``types.Object``
        others: the similarity runs of other backends, and the names of these
    """
    view = types.ImageView(alt="", componentsProps=_PICTURE)
    panel.str("none_icon", default=_ICON, view=view)
    lines = [
        "**No Redis index yet**",
        "An index finds similar samples or patches, text prompts and near duplicates.",
    ]
    if others:
        named = ", ".join(f"`{key}` ({backend})" for key, backend in others.items())
        lines.append(f"The vectors of {named} can be used: nothing is embedded again.")
    if url := find_docs():
        lines.append(f"[How it works]({url})")
    panel.md("\n\n".join(lines), name="none", componentsProps=_CENTRED)


def find_docs() -> str | None:
    """Returns the address of the documentation, as the package's metadata has it."""
    try:
        urls = metadata("fiftyone-redis").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation")
