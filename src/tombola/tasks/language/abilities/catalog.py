"""Abilities by their names on the command line: `grammar`, `reasoning=piqa.jsonl`, `hellaswag` of lm-eval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.language import lm_eval
from tombola.tasks.language.abilities import (
    cloze,
    grammar,
    inference,
    knowledge,
    lm_eval_task,
    reasoning,
    sentiment,
    text_corpus,
    texts,
    wikitext,
)
from tombola.tasks.language.abilities.ability import Ability
from tombola.tasks.language.abilities.text_corpus import Text

DEFAULT = ("grammar", "language-modelling", "knowledge", "sentiment")
"""Abilities that need neither hub nor files."""


@dataclass(frozen=True)
class Kind:
    """Kind of ability: what it is made from.

    Attributes:
        what: one line for people.
        bundled: without a file, from what Tombola brings or makes; None where a file is needed.
        from_file: from a file or folder; None where there is no such thing.
        hub: names of what is on the hub, which are given like a file; a file of that name goes before.
    """

    what: str
    bundled: Callable[[int], Ability] | None
    from_file: Callable[[Path, int], Ability] | None
    hub: Mapping[str, Callable[[], Ability]] = field(default_factory=dict)


def _language(path: Path | None) -> Ability:
    text = training_text(path)
    return texts.load(text.dev, text.source)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "grammar": Kind(
            "minimal pairs: generated, or BLiMP's JSON lines (sentence_good, sentence_bad)",
            lambda seed: grammar.load(None, seed),
            grammar.load,
        ),
        "language-modelling": Kind(
            "bits per byte of plot summaries, of a text file, or of wikitext from the hub",
            lambda _: _language(None),
            lambda path, _: _language(path),
            {name: partial(_language, Path(name)) for name in wikitext.CONFIGURATIONS},
        ),
        "knowledge": Kind(
            "capitals, currencies, nationalities among ten candidates",
            lambda seed: knowledge.load(None, seed),
            knowledge.load,
        ),
        "sentiment": Kind(
            "Rotten Tomatoes by label log-probability, calibrated",
            lambda _: sentiment.load(rotten_tomatoes.load()),
            None,
        ),
        "inference": Kind(
            "RTE, WNLI or CoLA from GLUE's files, or rte, wnli or cola from the hub",
            None,
            lambda path, _: inference.load(path),
            {name: partial(inference.from_glue, name) for name in inference.TASKS},
        ),
        "reasoning": Kind(
            "multiple choice from JSON lines (query, choices, gold)", None, lambda path, _: reasoning.load(path)
        ),
        "cloze": Kind("last words from JSON lines (context, continuation)", None, lambda path, _: cloze.load(path)),
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


def training_text(path: Path | None) -> Text:
    """The text of a file, the last tenth of its texts held out (of a single one, its last tenth), or plot summaries.

    Args:
        path: the file, or `wikitext` for the hub's; None for plot summaries.

    Raises:
        TombolaError: the file cannot be read or has no text, or the asset or the hub cannot be reached.
    """
    if path is None:
        return text_corpus.plots()
    if str(path) in wikitext.CONFIGURATIONS and not path.exists():
        return wikitext.load(str(path))
    found = texts.read(path)
    if len(found) == 1:
        words = found[0].split(" ")
        cut = len(words) - max(1, len(words) // 10)
        found = [" ".join(words[:cut]), " ".join(words[cut:])]
        if not found[0]:
            raise TombolaError(f"{path} holds a single word; give a file with more text in it")
    held = max(1, len(found) // 10)
    return Text(tuple(found[:-held]), tuple(found[-held:]), str(path))


def _parse(name: str) -> tuple[str, Path | None]:
    kind, given, path = name.partition("=")
    folder = Path(path).expanduser() if given else None
    if kind not in KINDS:
        known = f"unknown ability {kind!r}; known: {', '.join(KINDS)}"
        if find_spec("lm_eval") is None:
            raise TombolaError(f"{known}; for a task of lm-evaluation-harness, pip install 'tombola[language]'")
        if not lm_eval.knows(kind.partition(":")[0], folder):
            raise TombolaError(f"{known}, and the tasks of lm-evaluation-harness (lm-eval ls tasks)")
    return kind, folder


def _load(kind: str, path: Path | None, seed: int) -> list[Ability]:
    return [_of_kind(kind, path, seed)] if kind in KINDS else lm_eval_task.load(kind, path)


def _of_kind(kind: str, path: Path | None, seed: int) -> Ability:
    entry = KINDS[kind]
    if path is None:
        if entry.bundled is None:
            raise TombolaError(f"{kind} needs a file ({entry.what}); give {kind}=FILE")
        return entry.bundled(seed)
    if str(path) in entry.hub and not path.exists():
        return entry.hub[str(path)]()
    if entry.from_file is None:
        raise TombolaError(f"{kind} takes no file ({entry.what}); give {kind} alone")
    return entry.from_file(path, seed)
