"""Whether ``backend="redis"`` will work here: the server, FiftyOne's files, the runs."""

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
