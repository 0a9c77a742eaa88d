"""Whether knowledge is local or spread: random tickets, interactions, representations."""
