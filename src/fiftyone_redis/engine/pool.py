"""redis-py's pools of connections, without faults that its versions have."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import redis

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 6379

# redis-py 7 refuses to open a socket whose server it cannot follow to another host.
_WITHOUT_NOTIFICATIONS: dict[str, Any] = {}
with suppress(ImportError):
    from redis.maint_notifications import MaintNotificationsConfig

    _WITHOUT_NOTIFICATIONS = {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


class ForkSafe(redis.ConnectionPool):
    """A pool that works in a child process, whatever other threads did at the time of the fork.

    From version 6 on, redis-py keeps the lock of the parent's pool, and if one of the parent's
    threads held it, nobody in the child ever gives it back.
    """

    def reset(self) -> None:
        """Forgets all connections, as redis-py does when it finds itself in a child."""
        if getattr(self, "pid", os.getpid()) != os.getpid():
            self._lock = threading.RLock()
        super().reset()  # type: ignore[no-untyped-call,unused-ignore]


class Pool(ForkSafe):
    """A pool of connections to one place; redis-py's shows the password in versions 6 and 7."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, **(_WITHOUT_NOTIFICATIONS if "path" in options else {}))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({place(self.connection_kwargs)})>"


def place(options: Mapping[str, Any]) -> str:
    """Returns where connections with some of redis-py's options lead, without credentials."""
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', DEFAULT_HOST)}:{options.get('port', DEFAULT_PORT)}"
