"""Abilities from JSON lines of one's own, cloze and reasoning, and rows that are checked field by field."""

from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.files import Row, json_records
from tombola.tasks.language.abilities.ability import Ability, Example


def text_of(row: Row, column: str, path: Path, line: int) -> str:
    """A field of a row, or a TombolaError where it is not there or holds no text."""
    value = field(row, column, path, line)
    if not isinstance(value, str) or not value.strip():
        raise TombolaError(
            f"{path}, line {line}: {column} holds {value!r}, where a text should be; mend or drop the line"
        )
    return value


def field(row: Row, column: str, path: Path, line: int) -> object:
    """A field of a row, or a TombolaError where it is not there."""
    if column not in row:
        raise TombolaError(f"{path}, line {line} has no {column!r}; it has {', '.join(map(str, row)) or 'nothing'}")
    return row[column]


def cloze(path: Path) -> Ability:
    """Passages and their last words, of which all tokens must be the most probable; raises as `json_records`."""
    found = []
    for line, row in json_records(path):
        context, continuation = (text_of(row, name, path, line) for name in ("context", "continuation"))
        found.append(Example((f" {continuation.strip()}",), 0, context.rstrip(), where=f"{path}, line {line}"))
    return Ability("cloze", "Cloze", "exact", tuple(found), str(path))


def reasoning(path: Path) -> Ability:
    """Questions with their choices; `Answer:` follows a query without a colon at its end; raises as `json_records`."""
    found = []
    for line, row in json_records(path):
        choices, gold = (field(row, name, path, line) for name in ("choices", "gold"))
        texts = [one for one in choices if isinstance(one, str) and one.strip()] if isinstance(choices, list) else []
        if len(texts) < 2 or texts != choices:
            raise TombolaError(f"{path}, line {line}: choices must be two texts or more; mend or drop the line")
        if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(texts):
            raise TombolaError(f"{path}, line {line}: gold must be a number from 0 to {len(texts) - 1}, not {gold!r}")
        context = text_of(row, "query", path, line).rstrip()
        if not context.endswith(":"):
            context = f"{context}\nAnswer:"
        answers = tuple(f" {choice.strip()}" for choice in texts)
        found.append(Example(answers, gold, context, where=f"{path}, line {line}"))
    return Ability("reasoning", "Reasoning", "choice", tuple(found), str(path), per_character=True)
