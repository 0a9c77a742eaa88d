"""Scores of predictions, their chance levels, intervals and verdicts."""
