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
    from fiftyone_redis import doctor, engine, server, sync
    from fiftyone_redis.adoption import adopt, restore
    from fiftyone_redis.backend import (
        RedisSimilarity,
        RedisSimilarityConfig,
        RedisSimilarityIndex,
    )
    from fiftyone_redis.errors import FiftyOneRedisError

__all__ = [
    "FiftyOneRedisError",
    "RedisSimilarity",
    "RedisSimilarityConfig",
    "RedisSimilarityIndex",
    "__version__",
    "adopt",
    "doctor",
    "engine",
    "register",
    "restore",
    "server",
    "sync",
]

__version__ = "0.2.0.dev0"

CONFIG_CLS = "fiftyone_redis.backend.RedisSimilarityConfig"
"""The class that FiftyOne loads for ``backend="redis"``; saved in users' databases, never moves."""

_MODULES = ("doctor", "engine", "server", "sync")
_HOMES = {
    "FiftyOneRedisError": "errors",
    "RedisSimilarity": "backend",
    "RedisSimilarityConfig": "backend",
    "RedisSimilarityIndex": "backend",
    "adopt": "adoption",
    "restore": "adoption",
}

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
    if name in _MODULES:
        return import_module(f"fiftyone_redis.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"fiftyone_redis.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_apply(os.environ.setdefault(_CONFIG_CLS_VARIABLE, CONFIG_CLS))
