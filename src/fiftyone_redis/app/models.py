"""The models of FiftyOne's zoo: their names, and whether they take text prompts."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache as remembered

import fiftyone.zoo as foz

TEXT_TAGS = ("text-embeddings", "zero-shot")  # the second in versions of FiftyOne before 1.10

_NEAREST = 3


@remembered
def list_models() -> dict[str, bool]:
    """Returns the models that compute embeddings, and whether they take text prompts."""
    prompting = {name for tag in TEXT_TAGS for name in foz.list_zoo_models(tags=tag)}
    return {name: name in prompting for name in foz.list_zoo_models(tags="embeddings")}


def find_problem(name: str) -> str | None:
    """Returns what is wrong with the name of a model, None if the zoo knows it."""
    known = foz.list_zoo_models()
    if name in known or name.partition("@")[0] in known:
        return None
    nearest = get_close_matches(name, list(list_models()), _NEAREST) or get_close_matches(
        name, known, _NEAREST
    )
    advice = f"did you mean {', '.join(nearest)}?" if nearest else "choose one from the list."
    return f"FiftyOne's zoo has no model {name!r}; {advice}"


def takes_prompts(name: str) -> bool | None:
    """Returns whether a model takes text prompts; None if the zoo does not say."""
    return list_models().get(name)
