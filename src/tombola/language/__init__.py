"""How a causal language model is asked for the log-probability of texts: every item is one row of a batch."""
