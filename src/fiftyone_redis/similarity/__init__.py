"""The work behind ``backend.py``: FiftyOne's samples, views and queries on top of the engine."""
