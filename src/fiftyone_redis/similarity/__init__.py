"""What ``backend.py`` delegates to: FiftyOne's samples, views and queries, and the engine."""
