"""Grammar: of two sentences that differ in one thing, the grammatical one must be the more probable (BLiMP).

For those who have no BLiMP files a small grammar of English makes minimal pairs. Each paradigm is one phenomenon of
BLiMP (Warstadt et al. 2020), made of frequent words, so that a small model that knows the rule is not stopped by a
word. The two sentences of a pair differ in what the rule forbids and in nothing else; most have the same words or the
same number of words. Where a rule has two sides (singular and plural, he and she), every other pair takes the other
side, so that no constant preference scores above a half.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
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


def _pair(sentence: str, one: str, other: str, side: bool = True) -> Pair:
    """The sentence with its gap `_` filled rightly and wrongly: on the other side of a rule the other way round."""
    good, bad = (one, other) if side else (other, one)
    return sentence.replace("_", good), sentence.replace("_", bad)


def _subject_verb_agreement(draw: Draw, side: bool) -> Pair:
    noun, (bare, third, _) = draw.choice(PEOPLE), draw.choice(INTRANSITIVE)
    adjective = draw.choice(("young", "old", "tall", "famous", "poor"))
    return _pair(f"The {adjective} {noun if side else _plural(noun)} usually _.", third, bare, side)


def _agreement_across_phrase(draw: Draw, side: bool) -> Pair:
    near, far, adjective = draw.choice(THINGS), draw.choice(PEOPLE), draw.choice(ADJECTIVES)
    # The noun next to the verb has the other number.
    subject = f"The {near if side else _plural(near)} of the {_plural(far) if side else far}"
    return _pair(f"{subject} _ {adjective}.", "is", "are", side)


def _agreement_across_clause(draw: Draw, side: bool) -> Pair:
    (one, other), verb = draw.sample(PEOPLE, 2), draw.choice(TRANSITIVE)
    bare, third, _ = draw.choice(INTRANSITIVE)
    subject = f"{one} that the {_plural(other)} {verb[0]}" if side else f"{_plural(one)} that the {other} {verb[1]}"
    return _pair(f"The {subject} often _.", third, bare, side)


def _determiner_noun_agreement(draw: Draw, side: bool) -> Pair:
    noun, (_, _, _, past, _) = draw.choice(THINGS), draw.choice(TRANSITIVE[:1] + TRANSITIVE[3:4] + TRANSITIVE[5:6])
    determiner = draw.choice(("this", "that") if side else ("these", "those"))
    return _pair(f"{draw.choice(NAMES)} {past} {determiner} _.", noun, _plural(noun), side)


def _determiner_adjective_noun_agreement(draw: Draw, side: bool) -> Pair:
    noun, adjective = draw.choice(THINGS), draw.choice(ADJECTIVES)
    one, several = draw.choice((("this", "these"), ("that", "those")))
    rest = f"{adjective} {noun if side else _plural(noun)}"
    return _pair(f"{draw.choice(NAMES)} bought _ {rest}.", one, several, side)


def _anaphor_gender(draw: Draw, side: bool) -> Pair:
    name, verb, when = draw.choice(WOMEN if side else MEN), draw.choice(TRANSITIVE), draw.choice(PAST)
    return _pair(f"{name} {verb[3]} _ {when}.", "herself", "himself", side)


def _anaphor_number(draw: Draw, side: bool) -> Pair:
    noun = draw.choice(("boy", "man", "king", "brother", "uncle", "father"))
    verb, when = draw.choice(TRANSITIVE), draw.choice(PAST)
    subject = noun if side else {"man": "men"}.get(noun, _plural(noun))
    return _pair(f"The {subject} {verb[3]} _ {when}.", "himself", "themselves", side)


def _anaphor_c_command(draw: Draw, side: bool) -> Pair:
    women, men = ("sister", "mother", "daughter", "wife"), ("brother", "father", "son", "husband")
    relative = draw.choice(women if side else men)
    name, verb = draw.choice(MEN if side else WOMEN), draw.choice(TRANSITIVE)
    return _pair(f"The {relative} of {name} {verb[3]} _.", "herself", "himself", side)


def _pronoun_case(draw: Draw, side: bool) -> Pair:
    nominative, accusative = draw.choice((("he", "him"), ("she", "her"), ("they", "them")))
    verb, name, when = draw.choice(TRANSITIVE), draw.choice(NAMES), draw.choice(PAST)
    if side:
        return _pair(f"{name} {verb[3]} _ {when}.", accusative, nominative)
    return _pair(f"_ {verb[3]} {name} {when}.", nominative.capitalize(), accusative.capitalize())


def _npi_licensor(draw: Draw, side: bool) -> Pair:
    verb, name = draw.choice(TRANSITIVE), draw.choice(NAMES)
    if side:
        return _pair(f"_ has ever {verb[4]} {name}.", "Nobody", "Somebody")
    return _pair(f"_ {_plural(draw.choice(PEOPLE))} have ever {verb[4]} {name}.", "No", "Some")


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


def _coordinate_structure_island(draw: Draw, side: bool) -> Pair:
    (one, two), verb = draw.sample(NAMES, 2), draw.choice(TRANSITIVE)
    who = "Who" if side else f"Which {draw.choice(PEOPLE)}"
    return f"{who} did {one} and {two} {verb[0]}?", f"{who} did {one} {verb[0]} {two} and?"


def _left_branch_island(draw: Draw, side: bool) -> Pair:
    thing, name = draw.choice(THINGS), draw.choice(NAMES)
    verb, who = draw.choice(("buy", "find", "sell", "lose", "borrow")), "Whose" if side else "Which"
    return f"{who} {thing} did {name} {verb}?", f"{who} did {name} {verb} {thing}?"


def _wh_gap(draw: Draw, side: bool) -> Pair:
    (one, two), verb = draw.sample(NAMES, 2), draw.choice(TRANSITIVE)
    sentence = f"{one} {draw.choice(('knows', 'remembers', 'forgot'))} _ {two} {verb[3]}"
    if side:
        return _pair(f"{sentence}.", "who", "that")
    return _pair(f"{sentence} the {draw.choice(PEOPLE)}.", "that", "who")


def _transitive(draw: Draw, side: bool) -> Pair:
    verb, (_, _, past), noun = draw.choice(TRANSITIVE), draw.choice(INTRANSITIVE), draw.choice(PEOPLE)
    subject = draw.choice(NAMES) if side else f"The {draw.choice([one for one in PEOPLE if one != noun])}"
    return _pair(f"{subject} _ the {noun}.", verb[3], past)


def _passive(draw: Draw, side: bool) -> Pair:
    verb, (_, _, past), noun = draw.choice(TRANSITIVE), draw.choice(INTRANSITIVE[:-1]), draw.choice(PEOPLE)
    subject = f"{noun} was" if side else f"{_plural(noun)} were"
    return _pair(f"The {subject} _ by {draw.choice(NAMES)}.", verb[4], past)


def _irregular_participle(draw: Draw, side: bool) -> Pair:
    (past, participle, thing), name = draw.choice(IRREGULAR), draw.choice(NAMES)
    if side:
        return _pair(f"{name} has _ {thing}.", participle, past)
    return _pair(f"{name} _ {thing} {draw.choice(PAST)}.", past, participle)


def _existential_quantifier(draw: Draw, side: bool) -> Pair:
    thing, place = draw.choice(THINGS if side else PEOPLE), draw.choice(PLACES)
    adjective = draw.choice(("new", "young", "famous", "beautiful", "tall"))
    one, other = ("a", "every") if side else ("no", "each")
    return _pair(f"There was _ {adjective} {thing} in the {place}.", one, other)


PHENOMENA: Mapping[str, tuple[Callable[[Draw, bool], Pair], ...]] = {
    "agreement": (
        *(_subject_verb_agreement, _agreement_across_phrase, _agreement_across_clause),
        *(_determiner_noun_agreement, _determiner_adjective_noun_agreement),
    ),
    "anaphora": (_anaphor_gender, _anaphor_number, _anaphor_c_command),
    "case": (_pronoun_case,),
    "negative polarity": (_npi_licensor, _npi_scope),
    "islands": (_adjunct_island, _coordinate_structure_island, _left_branch_island),
    "filler and gap": (_wh_gap,),
    "argument structure": (_transitive, _passive),
    "irregular forms": (_irregular_participle,),
    "quantifiers": (_existential_quantifier,),
}
"""Makers of pairs (grammatical, ungrammatical) for a side of a rule, by phenomenon."""
PARADIGMS = MappingProxyType({make.__name__[1:]: make for makers in PHENOMENA.values() for make in makers})
"""Every paradigm by name."""


def pairs(paradigm: str, count: int, seed: int = 0) -> list[Pair]:
    """Different pairs, both sides in turn, the first the same when more are asked for; a ValueError if it has fewer."""
    draw = Draw(f"{seed} {paradigm}")
    found: dict[Pair, None] = {}
    for _ in range(200 * count + 1000):
        if len(found) == count:
            return list(found)
        found.setdefault(PARADIGMS[paradigm](draw, len(found) % 2 == 0))
    raise ValueError(f"{paradigm} makes {len(found)} different pairs, not {count}")


PAIRS = 50
"""Generated pairs of each paradigm."""


def load(path: Path | None, seed: int = 0) -> Ability:
    """Minimal pairs from JSON lines of `sentence_good` and `sentence_bad`, or from our own small grammar.

    They are in a file, or a folder of `.jsonl` files, each a paradigm; for None, 50 pairs of each of ours are made.
    Pairs of equal sentences, of which BLiMP as published has seven, are left out, with a warning that says where they
    are. A TombolaError where there is no such file, a line is malformed, or no pair is left.
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
    equal = [example.where for example in read if len(set(example.choices)) == 1]
    source = str(path)
    if equal:
        source += f", without {len(equal)} pair{'s' * (len(equal) > 1)} of equal sentences"
        more = f" and {len(equal) - _NAMED} more" if len(equal) > _NAMED else ""
        warnings.warn(f"{source}: {'; '.join(equal[:_NAMED])}{more}", stacklevel=2)
    left = tuple(example for example in read if len(set(example.choices)) > 1)
    return Ability("grammar", "Grammar", "choice", left, source)


_NAMED = 10
"""Pairs that a warning names, at most."""


def _pairs(file: Path) -> Iterator[Example]:
    for line, row in json_records(file):
        pair = tuple(text_of(row, name, file, line) for name in ("sentence_good", "sentence_bad"))
        yield Example(pair, group=file.stem, where=f"{file}, line {line}")
