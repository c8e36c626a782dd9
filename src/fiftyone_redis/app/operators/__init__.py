"""The operators of the plugin, by theme: managing indexes, searching, duplicates."""
