"""Tasks: the only door to a regime."""
