"""Loads the model of a run, which embeds what its index lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fiftyone_redis.errors import FiftyOneRedisError, InputError


def load_model(index: Any) -> Any:
    """Loads the model of an index.

    Args:
        index: a :class:`~fiftyone_redis.backend.RedisSimilarityIndex`

    Raises:
        InputError: if it has none, or it cannot be loaded
    """
    name = index.config.model
    if name is None:
        raise InputError(
            "This index has no model name: it was created from vectors or from a model object. "
            "Create an index with the name of a model to embed other pictures."
        )
    with loading(name):
        return index.get_model()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Converts errors of loading a model to :class:`InputError`, with advice.

    Args:
        name: the model's name

    Raises:
        InputError: instead of the errors of FiftyOne's zoo and the models' loaders
    """
    try:
        yield
    except FiftyOneRedisError:
        raise
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        if not name:
            raise
        raise InputError(
            f"The model {name!r} cannot be loaded here ({error}); check its name, install what it "
            "needs, or register its zoo source."
        ) from error
