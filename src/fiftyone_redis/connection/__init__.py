"""From parameters to a client of one server or of a cluster; knows redis-py, nothing of vectors."""
