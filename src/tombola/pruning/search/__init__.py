"""The search for a good ticket: its options, the loop, and one strategy of cutting in each file."""
