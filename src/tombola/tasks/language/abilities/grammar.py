"""Grammar: of two sentences that differ in one thing, the grammatical one must be the more probable (BLiMP).

For those who have no BLiMP files a small grammar of English makes minimal pairs. Each paradigm is one phenomenon of
BLiMP (Warstadt et al. 2020), made of frequent words, so that a small model that knows the rule is not stopped by a
word. The two sentences of a pair differ in what the rule forbids and in nothing else; most have the same words or the
same number of words. Where a rule has two sides (singular and plural, he and she), every other pair takes the other
side, so that no constant preference scores above a half.
"""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.files import json_records
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.example_files import text_of

Pair = tuple[str, str]
Draw = random.Random

WOMEN = ("Anna", "Maria", "Susan", "Emma", "Laura", "Helen", "Sarah", "Rachel")
MEN = ("John", "Peter", "David", "Robert", "Thomas", "Paul", "Mark", "James")
NAMES = WOMEN + MEN
PEOPLE = ("teacher", "doctor", "student", "lawyer", "farmer", "singer", "driver", "nurse", "writer", "painter")
THINGS = ("book", "picture", "letter", "chair", "lamp", "bottle", "hat", "coat", "ring", "clock")
PLACES = ("garden", "house", "park", "kitchen", "station", "office", "museum", "hotel")
ADJECTIVES = ("old", "red", "small", "heavy", "expensive", "new", "beautiful", "green")
# Bare verb, third person, -ing, past, participle.
TRANSITIVE = (
    ("admire", "admires", "admiring", "admired", "admired"),
    ("help", "helps", "helping", "helped", "helped"),
    ("visit", "visits", "visiting", "visited", "visited"),
    ("criticize", "criticizes", "criticizing", "criticized", "criticized"),
    ("know", "knows", "knowing", "knew", "known"),
    ("like", "likes", "liking", "liked", "liked"),
    ("hire", "hires", "hiring", "hired", "hired"),
    ("avoid", "avoids", "avoiding", "avoided", "avoided"),
)
INTRANSITIVE = (
    ("sleep", "sleeps", "slept"),
    ("laugh", "laughs", "laughed"),
    ("arrive", "arrives", "arrived"),
    ("smile", "smiles", "smiled"),
    ("disappear", "disappears", "disappeared"),
    ("exist", "exists", "existed"),
    ("cough", "coughs", "coughed"),
    ("fall", "falls", "fell"),
)
IRREGULAR = (
    ("ate", "eaten", "the cake"),
    ("wrote", "written", "the letter"),
    ("broke", "broken", "the window"),
    ("took", "taken", "the money"),
    ("drove", "driven", "the car"),
    ("forgot", "forgotten", "the name"),
    ("stole", "stolen", "the ring"),
    ("chose", "chosen", "the color"),
    ("drew", "drawn", "the picture"),
    ("hid", "hidden", "the key"),
)
PAST = ("yesterday", "last week", "last year", "this morning", "on Monday", "in the summer", "after dinner", "at noon")


def _plural(noun: str) -> str:
    return f"{noun}s"


def _subject_verb(draw: Draw, side: bool) -> Pair:
    noun, (bare, third, _) = draw.choice(PEOPLE), draw.choice(INTRANSITIVE)
    adjective = draw.choice(("young", "old", "tall", "famous", "poor"))
    good, bad = (third, bare) if side else (bare, third)
    subject = f"The {adjective} {noun if side else _plural(noun)} usually"
    return f"{subject} {good}.", f"{subject} {bad}."


def _distractor_phrase(draw: Draw, side: bool) -> Pair:
    near, far = draw.choice(THINGS), draw.choice(PEOPLE)
    good, bad = ("is", "are") if side else ("are", "is")
    # The noun next to the verb has the other number.
    subject = f"The {near if side else _plural(near)} of the {_plural(far) if side else far}"
    adjective = draw.choice(ADJECTIVES)
    return f"{subject} {good} {adjective}.", f"{subject} {bad} {adjective}."


def _distractor_clause(draw: Draw, side: bool) -> Pair:
    (one, other), verb = draw.sample(PEOPLE, 2), draw.choice(TRANSITIVE)
    bare, third, _ = draw.choice(INTRANSITIVE)
    good, bad = (third, bare) if side else (bare, third)
    subject = (
        f"The {one} that the {_plural(other)} {verb[0]}" if side else f"The {_plural(one)} that the {other} {verb[1]}"
    )
    return f"{subject} often {good}.", f"{subject} often {bad}."


def _determiner_noun(draw: Draw, side: bool) -> Pair:
    noun, (_, _, _, past, _) = draw.choice(THINGS), draw.choice(TRANSITIVE[:1] + TRANSITIVE[3:4] + TRANSITIVE[5:6])
    determiner = draw.choice(("this", "that") if side else ("these", "those"))
    good, bad = (noun, _plural(noun)) if side else (_plural(noun), noun)
    start = f"{draw.choice(NAMES)} {past} {determiner}"
    return f"{start} {good}.", f"{start} {bad}."


def _determiner_adjective_noun(draw: Draw, side: bool) -> Pair:
    noun, adjective = draw.choice(THINGS), draw.choice(ADJECTIVES)
    good, bad = draw.choice((("this", "these"), ("that", "those")))
    good, bad = (good, bad) if side else (bad, good)
    start, rest = f"{draw.choice(NAMES)} bought", f"{adjective} {noun if side else _plural(noun)}."
    return f"{start} {good} {rest}", f"{start} {bad} {rest}"


def _anaphor_gender(draw: Draw, side: bool) -> Pair:
    name, (_, _, _, past, _) = draw.choice(WOMEN if side else MEN), draw.choice(TRANSITIVE)
    good, bad = ("herself", "himself") if side else ("himself", "herself")
    when = draw.choice(PAST)
    return f"{name} {past} {good} {when}.", f"{name} {past} {bad} {when}."


def _anaphor_number(draw: Draw, side: bool) -> Pair:
    noun = draw.choice(("boy", "man", "king", "brother", "uncle", "father"))
    past = draw.choice(TRANSITIVE)[3]
    plural = {"man": "men"}.get(noun, _plural(noun))
    good, bad = ("himself", "themselves") if side else ("themselves", "himself")
    subject = f"The {noun if side else plural} {past}"
    when = draw.choice(PAST)
    return f"{subject} {good} {when}.", f"{subject} {bad} {when}."


def _anaphor_c_command(draw: Draw, side: bool) -> Pair:
    women, men = ("sister", "mother", "daughter", "wife"), ("brother", "father", "son", "husband")
    relative = draw.choice(women if side else men)
    name, (_, _, _, past, _) = draw.choice(MEN if side else WOMEN), draw.choice(TRANSITIVE)
    good, bad = ("herself", "himself") if side else ("himself", "herself")
    return f"The {relative} of {name} {past} {good}.", f"The {relative} of {name} {past} {bad}."


def _pronoun_case(draw: Draw, side: bool) -> Pair:
    nominative, accusative = draw.choice((("he", "him"), ("she", "her"), ("they", "them")))
    verb = draw.choice(TRANSITIVE)
    name, when = draw.choice(NAMES), draw.choice(PAST)
    if side:
        return f"{name} {verb[3]} {accusative} {when}.", f"{name} {verb[3]} {nominative} {when}."
    rest = f"{verb[3]} {name} {when}."
    return f"{nominative.capitalize()} {rest}", f"{accusative.capitalize()} {rest}"


def _npi_licensor(draw: Draw, side: bool) -> Pair:
    (_, _, _, _, participle), name = draw.choice(TRANSITIVE), draw.choice(NAMES)
    if side:
        return f"Nobody has ever {participle} {name}.", f"Somebody has ever {participle} {name}."
    noun = _plural(draw.choice(PEOPLE))
    return f"No {noun} have ever {participle} {name}.", f"Some {noun} have ever {participle} {name}."


def _npi_scope(draw: Draw, side: bool) -> Pair:
    (one, other), verb = draw.sample(PEOPLE, 2), draw.choice(TRANSITIVE)
    participle = draw.choice(("laughed", "smiled", "complained", "lied"))
    # The same words; but a licensor inside the relative clause does not reach the main one.
    rest = f"{_plural(other)} {verb[0] if side else verb[3]} have ever {participle}."
    return f"No {_plural(one)} that the {rest}", f"The {_plural(one)} that no {rest}"


def _adjunct_island(draw: Draw, side: bool) -> Pair:
    (one, two), (a, b) = draw.sample(NAMES, 2), draw.sample(TRANSITIVE, 2)
    when = "before" if side else "after"
    return f"Who did {one} {a[0]} {when} {b[2]} {two}?", f"Who did {one} {a[0]} {two} {when} {b[2]}?"


def _coordinate_island(draw: Draw, side: bool) -> Pair:
    (one, two), verb = draw.sample(NAMES, 2), draw.choice(TRANSITIVE)
    who = "Who" if side else f"Which {draw.choice(PEOPLE)}"
    return f"{who} did {one} and {two} {verb[0]}?", f"{who} did {one} {verb[0]} {two} and?"


def _left_branch_island(draw: Draw, side: bool) -> Pair:
    thing, name = draw.choice(THINGS), draw.choice(NAMES)
    verb, who = draw.choice(("buy", "find", "sell", "lose", "borrow")), "Whose" if side else "Which"
    return f"{who} {thing} did {name} {verb}?", f"{who} did {name} {verb} {thing}?"


def _wh_gap(draw: Draw, side: bool) -> Pair:
    (one, two), verb = draw.sample(NAMES, 2), draw.choice(TRANSITIVE)
    knows = draw.choice(("knows", "remembers", "forgot"))
    if side:
        return f"{one} {knows} who {two} {verb[3]}.", f"{one} {knows} that {two} {verb[3]}."
    thing = draw.choice(PEOPLE)
    return f"{one} {knows} that {two} {verb[3]} the {thing}.", f"{one} {knows} who {two} {verb[3]} the {thing}."


def _transitive(draw: Draw, side: bool) -> Pair:
    verb, (_, _, past), noun = draw.choice(TRANSITIVE), draw.choice(INTRANSITIVE), draw.choice(PEOPLE)
    subject = draw.choice(NAMES) if side else f"The {draw.choice([one for one in PEOPLE if one != noun])}"
    return f"{subject} {verb[3]} the {noun}.", f"{subject} {past} the {noun}."


def _passive(draw: Draw, side: bool) -> Pair:
    verb, (_, _, past), noun = draw.choice(TRANSITIVE), draw.choice(INTRANSITIVE[:-1]), draw.choice(PEOPLE)
    subject, was = (f"The {noun}", "was") if side else (f"The {_plural(noun)}", "were")
    name = draw.choice(NAMES)
    return f"{subject} {was} {verb[4]} by {name}.", f"{subject} {was} {past} by {name}."


def _participle(draw: Draw, side: bool) -> Pair:
    past, participle, thing = draw.choice(IRREGULAR)
    name = draw.choice(NAMES)
    if side:
        return f"{name} has {participle} {thing}.", f"{name} has {past} {thing}."
    when = draw.choice(PAST)
    return f"{name} {past} {thing} {when}.", f"{name} {participle} {thing} {when}."


def _existential(draw: Draw, side: bool) -> Pair:
    thing, place = draw.choice(THINGS if side else PEOPLE), draw.choice(PLACES)
    good, bad = ("a", "every") if side else ("no", "each")
    adjective = draw.choice(("new", "young", "famous", "beautiful", "tall"))
    rest = f"{adjective} {thing} in the {place}."
    return f"There was {good} {rest}", f"There was {bad} {rest}"


PARADIGMS: Mapping[str, tuple[str, Callable[[Draw, bool], Pair]]] = MappingProxyType(
    {
        "subject_verb_agreement": ("agreement", _subject_verb),
        "agreement_across_phrase": ("agreement", _distractor_phrase),
        "agreement_across_clause": ("agreement", _distractor_clause),
        "determiner_noun_agreement": ("agreement", _determiner_noun),
        "determiner_adjective_noun_agreement": ("agreement", _determiner_adjective_noun),
        "anaphor_gender": ("anaphora", _anaphor_gender),
        "anaphor_number": ("anaphora", _anaphor_number),
        "anaphor_c_command": ("anaphora", _anaphor_c_command),
        "pronoun_case": ("case", _pronoun_case),
        "npi_licensor": ("negative polarity", _npi_licensor),
        "npi_scope": ("negative polarity", _npi_scope),
        "adjunct_island": ("islands", _adjunct_island),
        "coordinate_structure_island": ("islands", _coordinate_island),
        "left_branch_island": ("islands", _left_branch_island),
        "wh_gap": ("filler and gap", _wh_gap),
        "transitive": ("argument structure", _transitive),
        "passive": ("argument structure", _passive),
        "irregular_participle": ("irregular forms", _participle),
        "existential_quantifier": ("quantifiers", _existential),
    }
)
"""Every paradigm by name: its phenomenon, and what makes a pair (grammatical, ungrammatical) for a side of its rule."""


def pairs(paradigm: str, count: int, seed: int = 0) -> list[Pair]:
    """Pairs of a paradigm, all different, its two sides in turn; the first stay the same when more are asked for.

    Raises:
        ValueError: it cannot make so many.
    """
    draw = Draw(f"{seed} {paradigm}")
    _, make = PARADIGMS[paradigm]
    found: dict[Pair, None] = {}
    for _ in range(200 * count + 1000):
        if len(found) == count:
            return list(found)
        found.setdefault(make(draw, len(found) % 2 == 0))
    raise ValueError(f"{paradigm} makes {len(found)} different pairs, not {count}")


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
    for line, row in json_records(file):
        good, bad = (text_of(row, name, file, line) for name in ("sentence_good", "sentence_bad"))
        if good == bad:
            raise TombolaError(f"{file}, line {line}: both sentences are {good!r}; mend or drop the line")
        found.append(Example((good, bad), group=file.stem, where=f"{file}, line {line}"))
    return found
