"""The loggers of this package, under FiftyOne's: FiftyOne shows no others."""

import logging


def get_logger(module: str) -> logging.Logger:
    """Returns the logger of a module, given its ``__name__``."""
    return logging.getLogger(f"fiftyone.{module}")
