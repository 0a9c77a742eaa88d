"""Tickets as values: algebra, files, pruning methods, site groups, N:M patterns, import, search in folders."""
