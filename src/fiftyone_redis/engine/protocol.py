"""The commands, where version 0.1.0 had them; they are in ``commands.py`` and ``wire.py``."""

from fiftyone_redis.connection.wire import *  # noqa: F403
from fiftyone_redis.engine.commands import *  # noqa: F403
