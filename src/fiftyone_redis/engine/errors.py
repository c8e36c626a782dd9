"""The exceptions, where version 0.1.0 had them; they are in ``fiftyone_redis.errors``."""

from fiftyone_redis.errors import *  # noqa: F403
from fiftyone_redis.errors import list_first as some  # noqa: F401


def __getattr__(name: str) -> object:
    if name in ("mapped", "translated"):
        # These need redis-py, which the exceptions do not.
        from fiftyone_redis.connection.translate import (  # noqa: PLC0415
            translate,
            translate_errors,
        )

        return translate_errors if name == "mapped" else translate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
