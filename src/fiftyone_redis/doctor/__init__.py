"""Checks whether ``backend="redis"`` will work: the server, FiftyOne's config, the runs."""

from fiftyone_redis.doctor.diagnosis import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    Finding,
    diagnose,
    examine,
    works,
)

__all__ = ["NOTE", "OK", "PROBLEM", "WARNING", "Finding", "diagnose", "examine", "works"]
