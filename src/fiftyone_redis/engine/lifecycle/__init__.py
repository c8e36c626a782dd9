"""Makes, fills, rebuilds and drops an index, while others may do the same."""
