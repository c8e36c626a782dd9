"""Where FiftyOne's model zoo finds the model of the fiftyone-redis demo by its name."""

from fiftyone_redis.demo.model import download_model, load_model

__all__ = ["download_model", "load_model"]
