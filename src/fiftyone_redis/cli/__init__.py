"""The command line: parses, calls, prints."""

from fiftyone_redis.cli.main import main

__all__ = ["main"]
