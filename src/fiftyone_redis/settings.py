"""How to reach Redis, where version 0.1.0 had it; see ``similarity/settings.py``."""

from fiftyone_redis.similarity.settings import (
    NAMES,
    Parameters,
    Source,
    configured,
    open_client,
    read,
    sources,
)

__all__ = ["NAMES", "Parameters", "Source", "configured", "open_client", "read", "sources"]
