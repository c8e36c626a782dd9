"""Connects to one Redis server or a cluster. Knows redis-py, and nothing about vectors."""
