"""Analyses of tickets: agreement, attention, locality, transfer, retention and generation."""
