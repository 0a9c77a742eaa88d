"""Where the heads, MLPs and weights of each model family lie, as data."""
