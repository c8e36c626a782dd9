"""A client of a Redis Cluster."""
