"""The query engine's commands and replies. The names below are where version 0.1.0 had them."""

from fiftyone_redis.connection.protocol.wire import is_already_done as is_done
from fiftyone_redis.connection.protocol.wire import pack
from fiftyone_redis.connection.protocol.wire import to_bytes as raw
from fiftyone_redis.connection.protocol.wire import to_text as text
from fiftyone_redis.engine.protocol.commands import create, drop, info, knn, names

__all__ = ["create", "drop", "info", "is_done", "knn", "names", "pack", "raw", "text"]
