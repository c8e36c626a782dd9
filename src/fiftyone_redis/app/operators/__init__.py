"""The operators of the plugin: managing indexes, searching, near duplicates."""
