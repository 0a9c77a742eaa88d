"""Layout of each model family as data: where heads, MLPs and weights lie."""
