"""What survives in tickets, and what it means."""
