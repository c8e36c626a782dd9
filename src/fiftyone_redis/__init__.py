"""Redis vector search for FiftyOne.

Importing this package puts its backend behind ``backend="redis"``. Nothing of FiftyOne is imported
until it is needed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiftyone_redis.adoption import adopt, restore
    from fiftyone_redis.backend import (
        RedisSimilarity,
        RedisSimilarityConfig,
        RedisSimilarityIndex,
    )
    from fiftyone_redis.engine.errors import FiftyOneRedisError

__all__ = [
    "FiftyOneRedisError",
    "RedisSimilarity",
    "RedisSimilarityConfig",
    "RedisSimilarityIndex",
    "__version__",
    "adopt",
    "register",
    "restore",
]

__version__ = "0.2.0.dev0"

CONFIG_CLS = "fiftyone_redis.backend.RedisSimilarityConfig"
"""The class that FiftyOne loads for ``backend="redis"``; saved in users' databases, never moves."""

_CONFIG_CLS_VARIABLE = "FIFTYONE_BRAIN_SIMILARITY_REDIS_CONFIG_CLS"


def register() -> None:
    """Puts this backend behind ``backend="redis"``, in this process and the ones it starts.

    Importing the package does this too, unless the environment names another class.
    """
    os.environ[_CONFIG_CLS_VARIABLE] = CONFIG_CLS
    _apply(CONFIG_CLS)


def _apply(config_cls: str) -> None:
    """Tells FiftyOne's brain, if it was imported before and so has read its settings already."""
    brain = sys.modules.get("fiftyone.brain")
    config = getattr(brain, "brain_config", None)
    if config is not None:
        config.similarity_backends.setdefault("redis", {})["config_cls"] = config_cls


def __getattr__(name: str) -> Any:
    if name == "FiftyOneRedisError":
        return getattr(import_module("fiftyone_redis.engine.errors"), name)
    if name in ("adopt", "restore"):
        return getattr(import_module("fiftyone_redis.adoption"), name)
    if name in __all__:
        return getattr(import_module("fiftyone_redis.backend"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_apply(os.environ.setdefault(_CONFIG_CLS_VARIABLE, CONFIG_CLS))
