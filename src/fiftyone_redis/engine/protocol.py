"""The commands, where version 0.1.0 had them; they are in ``commands.py`` and ``wire.py``."""

from fiftyone_redis.connection.wire import is_already_done as is_done
from fiftyone_redis.connection.wire import pack
from fiftyone_redis.connection.wire import to_bytes as raw
from fiftyone_redis.connection.wire import to_text as text
from fiftyone_redis.engine.commands import create, drop, info, knn, names

__all__ = ["create", "drop", "info", "is_done", "knn", "names", "pack", "raw", "text"]
