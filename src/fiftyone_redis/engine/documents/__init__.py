"""The documents of an index: their keys and formats; how they are written, read and walked."""
