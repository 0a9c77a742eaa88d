"""Agreement of tickets across seeds and tasks, beside chance."""
