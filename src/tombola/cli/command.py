"""Commands of the command line: arguments, and what runs them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """Command of `tombola`; a module holds it as `COMMAND`, and the table in `main.py` lists it.

    Its module is imported for every `tombola --help`: what takes PyTorch is imported inside the functions.
    """

    name: str
    what: str
    """Purpose, in the list of commands; begins in lower case."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    """Adds the command's own arguments; called for the command that was chosen only."""
    run: Callable[[argparse.Namespace], dict[str, Any]]
    """Run the command, print for people unless `options.json`, and return the result as JSON values."""
    groups: tuple[str, ...] = ()
    """Titles of the groups of settings that it heeds; it takes no others."""
    preset: str = "paper"
    """The preset whose values are the settings' defaults."""
    resumes: bool = False
    """Running the same command again goes on where it was stopped."""
