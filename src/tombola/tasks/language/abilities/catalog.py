"""Abilities by their names on the command line: `grammar`, `reasoning=piqa.jsonl`, `hellaswag` of lm-eval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.language.abilities import grammar, knowledge, lm_eval_task
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.abilities.example_files import cloze, reasoning
from tombola.tasks.language.abilities.language_modelling import language_modelling
from tombola.tasks.language.abilities.prompted_labels import inference, sentiment

DEFAULT = ("grammar", "language-modelling", "knowledge", "sentiment")
"""Abilities that need neither hub nor files."""


@dataclass(frozen=True)
class Kind:
    """Kind of ability: what it is made from.

    Attributes:
        what: one line for people.
        bundled: without a file, from what Tombola brings or makes; None where a file is needed.
        from_file: from a file or folder, or a name of the hub's, which a file of that name goes before; None where
            there is no such thing.
    """

    what: str
    bundled: Callable[[int], Ability] | None
    from_file: Callable[[Path, int], Ability] | None


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "grammar": Kind(
            "minimal pairs: generated, or BLiMP's JSON lines (sentence_good, sentence_bad)",
            partial(grammar.load, None),
            grammar.load,
        ),
        "language-modelling": Kind(
            "bits per byte of plot summaries, of a text file, or of wikitext from the hub",
            lambda _: language_modelling(),
            lambda path, _: language_modelling(path),
        ),
        "knowledge": Kind(
            "capitals, currencies, nationalities among ten candidates", partial(knowledge.load, None), knowledge.load
        ),
        "sentiment": Kind(
            "Rotten Tomatoes by label log-probability, calibrated", lambda _: sentiment(rotten_tomatoes.load()), None
        ),
        "inference": Kind(
            "RTE, WNLI or CoLA from GLUE's files, or rte, wnli or cola from the hub",
            None,
            lambda path, _: inference(path),
        ),
        "reasoning": Kind(
            "multiple choice from JSON lines (query, choices, gold)", None, lambda path, _: reasoning(path)
        ),
        "cloze": Kind("last words from JSON lines (context, continuation)", None, lambda path, _: cloze(path)),
    }
)
"""Every kind of ability by name."""


def open_abilities(names: Sequence[str] = DEFAULT, *, rows: int | None = None, seed: int = 0) -> tuple[Ability, ...]:
    """The abilities of these names.

    Args:
        names: `KIND`, or `KIND=PATH`. Of several files of one kind each has its own ability, called `KIND-STEM`. Any
            other name is a task of lm-evaluation-harness, where that is installed: `hellaswag`, `hellaswag:acc` for a
            metric of one's choice, `TASK=FOLDER` for a task of one's own whose YAML files are there.
        rows: use a seeded sample of so many examples of each; None for all.
        seed: of samples, and of whatever is generated.

    Raises:
        TombolaError: a kind is unknown, needs a file or takes none, or its file is missing or malformed.
    """
    parsed = [_parse(name) for name in names]
    kinds = [kind for kind, _ in parsed]
    found: dict[str, Ability] = {}
    for kind, path in parsed:
        for loaded in _load(kind, path, seed):
            ability = loaded.sample(rows, seed)
            if kind in KINDS and kinds.count(kind) > 1:
                stem = "bundled" if path is None else path.stem
                ability = replace(ability, name=f"{kind}-{stem}", title=f"{ability.title}: {stem}")
            if ability.name in found:
                raise TombolaError(f"ability {ability.name!r} is there twice; name each once")
            found[ability.name] = ability
    if not found:
        raise TombolaError(f"name at least one ability of {', '.join(KINDS)}")
    return tuple(found.values())


def _parse(name: str) -> tuple[str, Path | None]:
    kind, given, path = name.partition("=")
    folder = Path(path).expanduser() if given else None
    if kind not in KINDS:
        known = f"unknown ability {kind!r}; known: {', '.join(KINDS)}"
        if find_spec("lm_eval") is None:
            raise TombolaError(f"{known}; for a task of lm-evaluation-harness, pip install 'tombola[language]'")
        if not lm_eval_task.knows(kind.partition(":")[0], folder):
            raise TombolaError(f"{known}, and the tasks of lm-evaluation-harness (lm-eval ls tasks)")
    return kind, folder


def _load(kind: str, path: Path | None, seed: int) -> list[Ability]:
    if kind not in KINDS:
        return lm_eval_task.load(kind, path)
    entry = KINDS[kind]
    if path is None:
        if entry.bundled is None:
            raise TombolaError(f"{kind} needs a file ({entry.what}); give {kind}=FILE")
        return [entry.bundled(seed)]
    if entry.from_file is None:
        raise TombolaError(f"{kind} takes no file ({entry.what}); give {kind} alone")
    return [entry.from_file(path, seed)]
