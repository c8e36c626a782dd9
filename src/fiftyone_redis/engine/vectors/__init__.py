"""Vectors as arrays and as bytes, and the checks of them."""
