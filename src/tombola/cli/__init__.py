"""The command line: thin over the library. Results go to stdout, progress to stderr; exit code 0, 1, 2 or 130."""

from tombola.cli.main import main

__all__ = ["main"]
