"""A private Redis with the query engine on this machine: found, started and stopped.

It is a convenience: the rest of the package talks to a URL and does not care who runs the server
behind it. Nothing here knows what the server is used for.
"""

from __future__ import annotations

from fiftyone_redis.server.folder import default_folder
from fiftyone_redis.server.locate import find_program
from fiftyone_redis.server.process import PrivateServer, read_log, start, status, stop
from fiftyone_redis.server.program import Program

__all__ = [
    "PrivateServer",
    "Program",
    "default_folder",
    "find_program",
    "read_log",
    "start",
    "status",
    "stop",
]
