"""Reasoning: multiple choice by length-normalised log-probability, from JSON lines of `query`, `choices` and `gold`."""

from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.example_files import field, json_rows, text_of


def load(path: Path) -> Ability:
    """Questions with their choices. `Answer:` is put after a query that does not end with a colon.

    Raises:
        TombolaError: the file is missing, or a line is malformed.
    """
    found = []
    for line, row in json_rows(path):
        query, choices, gold = (field(row, name, path, line) for name in ("query", "choices", "gold"))
        if (
            not isinstance(choices, list)
            or len(choices) < 2
            or not all(isinstance(c, str) and c.strip() for c in choices)
        ):
            raise TombolaError(f"{path}, line {line}: choices must be two texts or more; mend or drop the line")
        if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(choices):
            raise TombolaError(f"{path}, line {line}: gold must be a number from 0 to {len(choices) - 1}, not {gold!r}")
        context = text_of({"query": query}, "query", path, line).rstrip()
        if not context.endswith(":"):
            context = f"{context}\nAnswer:"
        answers = tuple(f" {choice.strip()}" for choice in choices)
        found.append(Example(answers, gold, context, where=f"{path}, line {line}"))
    return Ability("reasoning", "Reasoning", "choice", tuple(found), str(path), per_character=True)
