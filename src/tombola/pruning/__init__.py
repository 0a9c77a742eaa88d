"""From a model to a ticket: evaluation, importance, search, one-shot pruning, controls."""
