"""What an index is: every setting of it, and its fields."""
