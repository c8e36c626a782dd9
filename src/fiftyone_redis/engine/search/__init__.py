"""Nearest neighbours: on the server, among some ids, or by brute force in this process."""
