"""Tasks: data, loss and score of each regime, which the rest asks for nothing else."""
