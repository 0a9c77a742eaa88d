"""Attention patterns of heads, and what the survivors attend to."""
