"""The report of a study: one HTML file that opens anywhere, and the same figures as a table in the terminal."""

from tombola.report.page import build

__all__ = ["build"]
