"""Knowledge: facts that finish a sentence, the right answer ranked among others of its kind.

The facts are the pairs of the analogy test set of word2vec (Mikolov et al. 2013): capitals, currencies, nationalities
and cities in states. A country has one capital, so a fact can be asked from both ends; a currency serves several
countries, so that it is a candidate once.
"""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from tombola.checkpoints.assets import fetch
from tombola.foundations.errors import TombolaError
from tombola.foundations.parsing import read_text
from tombola.tasks.language.abilities.ability import Ability, Example

CANDIDATES = 10
"""Answers to choose from, the right one among them: chance is one in ten."""

# Section of the file → relations: name, prompt, and whether it asks for the second of a pair.
_RELATIONS: Mapping[str, tuple[tuple[str, str, bool], ...]] = {
    "capital-world": (("capital", "The capital of {1} is", False), ("country", "{0} is the capital of", True)),
    "currency": (("currency", "The currency of {0} is the", True),),
    "city-in-state": (("state", "{0} is a city in the state of", True),),
    "gram6-nationality-adjective": (("nationality", "People from {0} are called", True),),
}


def load(path: Path | None = None, seed: int = 0) -> Ability:
    """Facts of `questions-words.txt`, or of the asset; the seed is of wrong candidates; a TombolaError if damaged."""
    file = fetch("analogies") / "questions-words.txt" if path is None else path
    facts = _facts(file)
    found = []
    for section, relations in _RELATIONS.items():
        pairs = facts.get(section, [])
        if not pairs:
            raise TombolaError(f"{file} has no section ': {section}'; give questions-words.txt as word2vec has it")
        for name, prompt, forward in relations:
            found += _examples(pairs, name, prompt, forward, Random(f"{seed} {name}"))
    source = "capitals, countries, currencies, nationalities, states (analogies)" if path is None else str(file)
    return Ability("knowledge", "Knowledge", "choice", tuple(found), source)


def _examples(pairs: list[tuple[str, str]], name: str, prompt: str, forward: bool, draw: Random) -> list[Example]:
    answers = sorted({pair[forward] for pair in pairs})
    found = []
    for pair in pairs:
        asked, answer = pair[not forward], pair[forward]
        right = {other[forward] for other in pairs if other[not forward] == asked}
        others = [one for one in answers if one not in right]
        wrong = draw.sample(others, min(CANDIDATES - 1, len(others)))
        gold = draw.randrange(len(wrong) + 1)
        choices = tuple(f" {choice}" for choice in (*wrong[:gold], answer, *wrong[gold:]))
        found.append(Example(choices, gold, prompt.format(*pair), group=name, where=f"{name} of {asked}"))
    return found


def _facts(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Section → its different pairs, in the file's order."""
    lines = read_text(file, "delete its folder, and it is fetched again").splitlines()
    facts: dict[str, dict[tuple[str, str], None]] = {}
    section = ""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words[:1] == [":"]:
            section = " ".join(words[1:])
        elif len(words) == 4:
            pairs = facts.setdefault(section, {})
            pairs[words[0], words[1]] = pairs[words[2], words[3]] = None
        elif words:
            raise TombolaError(f"{file}, line {number} has {len(words)} words instead of 4; mend the line")
    return {name: list(pairs) for name, pairs in facts.items()}
