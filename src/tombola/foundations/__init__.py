"""Foundations that know nothing of models: errors, atomic files, JSON dataclasses, progress, precision, resources."""
