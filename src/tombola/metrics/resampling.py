"""Defaults of intervals: how many resamples, and how likely they hold the true value."""

RESAMPLES = 2000
"""Resamples of each bootstrap."""
LEVEL = 0.95
"""Coverage of each interval."""
