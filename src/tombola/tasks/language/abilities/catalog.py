"""Abilities by their names on the command line: `grammar`, `reasoning=piqa.jsonl`, `hellaswag` of lm-eval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import cast

from tombola.foundations.errors import TombolaError, unknown
from tombola.tasks.language.abilities import grammar, knowledge, lm_eval_task
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.abilities.example_files import cloze, reasoning
from tombola.tasks.language.abilities.language_modelling import language_modelling
from tombola.tasks.language.abilities.prompted_labels import inference, sentiment

DEFAULT = ("grammar", "language-modelling", "knowledge", "sentiment")
"""Abilities that need neither hub nor files."""


@dataclass(frozen=True)
class AbilitySource:
    """Source of an ability: one line for people, and what it is made from.

    Attributes:
        what: that line.
        load: from a file or folder, or a name of the hub's, which a file of that name goes before; for None from what
            Tombola brings or makes; and a seed.
        bundled, files: whether it can be had without a file, and from one.
    """

    what: str
    load: Callable[[Path | None, int], Ability]
    bundled: bool = True
    files: bool = True


def _from_file(load: Callable[[Path], Ability], what: str) -> AbilitySource:
    return AbilitySource(what, lambda path, _: load(cast(Path, path)), bundled=False)


SOURCES: Mapping[str, AbilitySource] = MappingProxyType(
    {
        "grammar": AbilitySource(
            "minimal pairs: generated, or BLiMP's JSON lines (sentence_good, sentence_bad)", grammar.load
        ),
        "language-modelling": AbilitySource(
            "bits per byte of plot summaries, of a text file, or of wikitext from the hub",
            lambda path, _: language_modelling(path),
        ),
        "knowledge": AbilitySource("capitals, currencies, nationalities among ten candidates", knowledge.load),
        "sentiment": AbilitySource(
            "Rotten Tomatoes by label log-probability, calibrated", lambda *_: sentiment(), files=False
        ),
        "inference": _from_file(inference, "RTE, WNLI or CoLA from GLUE's files, or rte, wnli or cola from the hub"),
        "reasoning": _from_file(reasoning, "multiple choice from JSON lines (query, choices, gold)"),
        "cloze": _from_file(cloze, "last words from JSON lines (context, continuation)"),
    }
)
"""Sources of abilities by name."""


def open_abilities(
    names: Sequence[str] = DEFAULT, *, rows: int | None = None, seed: int = 0, trusted: bool = False
) -> tuple[Ability, ...]:
    """The abilities of these names.

    Args:
        names: `NAME`, or `NAME=PATH`. Of several files of one source each has its own ability, called `NAME-STEM`. Any
            other name is a task of lm-evaluation-harness, where that is installed: `hellaswag`, `hellaswag:acc` for a
            metric of one's choice, `TASK=FOLDER` for a task of one's own whose YAML files are there.
        rows: use a seeded sample of so many examples of each; None for all.
        seed: of samples, and of whatever is generated.
        trusted: let the harness run what is in the folder of a task of one's own: functions and templates.

    Raises:
        TombolaError: a source is unknown, needs a file or takes none, or its file is missing or malformed; or its
            folder is not trusted.
    """
    parsed = [_parse(name, trusted) for name in names]
    sources = [source for source, _ in parsed]
    found: dict[str, Ability] = {}
    for source, path in parsed:
        for loaded in [_load(source, path, seed)] if source in SOURCES else lm_eval_task.load(source, path):
            ability = loaded.sample(rows, seed)
            if source in SOURCES and sources.count(source) > 1:
                stem = "bundled" if path is None else path.stem
                ability = replace(ability, name=f"{source}-{stem}", title=f"{ability.title}: {stem}")
            if ability.name in found:
                raise TombolaError(f"ability {ability.name!r} is there twice; name each once")
            found[ability.name] = ability
    if not found:
        raise TombolaError(f"name at least one ability of {', '.join(SOURCES)}")
    return tuple(found.values())


def _parse(name: str, trusted: bool) -> tuple[str, Path | None]:
    source, given, path = name.partition("=")
    folder = Path(path).expanduser() if given else None
    if source not in SOURCES:
        known = unknown("ability", source, SOURCES)
        if find_spec("lm_eval") is None:
            raise TombolaError(f"{known}; for a task of lm-evaluation-harness, pip install 'tombola[language]'")
        if folder is not None and not trusted:
            # A study's settings name it, which may be somebody else's.
            raise TombolaError(
                f"lm-evaluation-harness runs code that the task files in {folder} name; allow it with "
                "--trust-remote-code (trusted=True) if you trust it"
            )
        if not lm_eval_task.knows(source.partition(":")[0], folder):
            raise TombolaError(f"{known}, and the tasks of lm-evaluation-harness (lm-eval ls tasks)")
    return source, folder


def _load(source: str, path: Path | None, seed: int) -> Ability:
    entry = SOURCES[source]
    if path is None and not entry.bundled:
        raise TombolaError(f"{source} needs a file ({entry.what}); give {source}=FILE")
    if path is not None and not entry.files:
        raise TombolaError(f"{source} takes no file ({entry.what}); give {source} alone")
    return entry.load(path, seed)
