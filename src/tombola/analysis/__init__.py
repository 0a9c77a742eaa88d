"""What survives, and whether it is the same every time: statistics of sets of tickets, without a model."""
