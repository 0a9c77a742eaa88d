"""The command line: thin over the library. Results go to stdout, progress to stderr; exit code 0, 1, 2, 130 or 141."""

from tombola.cli.main import main

__all__ = ["main"]
