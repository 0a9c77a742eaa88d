"""Cloze: the word that ends a passage, guessed outright (LAMBADA), from JSON lines of `context` and `continuation`."""

from pathlib import Path

from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.example_files import json_rows, text_of


def load(path: Path) -> Ability:
    """Passages and their last words; right is who writes all tokens of the word, each time the most probable one.

    Raises:
        TombolaError: the file is missing, or a line is malformed.
    """
    found = []
    for line, row in json_rows(path):
        context, continuation = (text_of(row, name, path, line) for name in ("context", "continuation"))
        found.append(Example((f" {continuation.strip()}",), 0, context.rstrip(), where=f"{path}, line {line}"))
    return Ability("cloze", "Cloze", "exact", tuple(found), str(path))
