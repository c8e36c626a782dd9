"""Old import path of the commands (version 0.1.0); see ``commands.py`` and ``wire.py``."""

from fiftyone_redis.connection.wire import *  # noqa: F403
from fiftyone_redis.engine.commands import *  # noqa: F403
