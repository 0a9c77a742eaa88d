"""Denoisers, judged by the images that they draw."""
