"""Reports: one HTML file that opens anywhere, and a study's figures as a table in the terminal."""

from tombola.report.build import build

__all__ = ["build"]
