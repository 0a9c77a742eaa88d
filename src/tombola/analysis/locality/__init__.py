"""Locality of knowledge: random tickets, interactions, representations."""
