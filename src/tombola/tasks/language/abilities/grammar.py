"""Grammar: of two sentences that differ in one thing, the grammatical one must be the more probable (BLiMP)."""

from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.example_files import json_rows, text_of
from tombola.tasks.language.abilities.minimal_pairs import PARADIGMS, pairs

PAIRS = 50
"""Generated pairs of each paradigm."""


def load(path: Path | None, seed: int = 0) -> Ability:
    """Minimal pairs from JSON lines of `sentence_good` and `sentence_bad`, or from our own small grammar.

    Args:
        path: a file, or a folder of `.jsonl` files, each a paradigm; None to generate 50 pairs of each of ours.
        seed: of generated pairs.

    Raises:
        TombolaError: there is no such file, or a line is malformed or has two equal sentences.
    """
    if path is None:
        examples = [
            Example(pair, group=name, where=f"{name} {number}")
            for name in PARADIGMS
            for number, pair in enumerate(pairs(name, PAIRS, seed))
        ]
        return Ability("grammar", "Grammar", "choice", tuple(examples), f"{len(PARADIGMS)} generated paradigms")
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise TombolaError(f"{path} holds no .jsonl files of minimal pairs; give BLiMP's folder, or one file")
    read = [example for file in files for example in _pairs(file)]
    return Ability("grammar", "Grammar", "choice", tuple(read), str(path))


def _pairs(file: Path) -> list[Example]:
    found = []
    for line, row in json_rows(file):
        good, bad = (text_of(row, name, file, line) for name in ("sentence_good", "sentence_bad"))
        if good == bad:
            raise TombolaError(f"{file}, line {line}: both sentences are {good!r}; mend or drop the line")
        found.append(Example((good, bad), group=file.stem, where=f"{file}, line {line}"))
    return found
