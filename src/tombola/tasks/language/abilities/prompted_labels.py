"""Labels of sentences by their probability after a prompt: sentiment, and inference.

A prompt has a liking of its own for one label. Contextual calibration (Zhao et al. 2021, Calibrate Before Use) measures
it on content-free inputs and divides it out; without it, small models give nearly everything the same label.

Inference is whether a sentence follows from another (RTE, WNLI) or is acceptable (CoLA), by the prompts of
lm-evaluation-harness.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.data import glue, rotten_tomatoes
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.data.files import records
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.example_files import field, text_of

FREE = ("N/A", "[MASK]", "")
"""Content-free inputs, those of Zhao et al."""
PROMPT = "Review: {}\nSentiment:"
LABELS = (" negative", " positive")


def sentiment(corpus: Corpus | None = None) -> Ability:
    """The dev sentences of a corpus, by default of Rotten Tomatoes, of which class 1 is positive."""
    corpus = corpus or rotten_tomatoes.load()
    free = tuple(PROMPT.format(text) for text in FREE)
    texts = corpus.splits["dev"]
    examples = tuple(
        Example(LABELS, int(label), PROMPT.format(text), free, group=LABELS[label].strip(), where=f"sentence {number}")
        for number, (text, label) in enumerate(zip(texts.first, texts.labels, strict=True), start=1)
    )
    return Ability("sentiment", "Sentiment", "choice", examples, f"{corpus.name}, dev")


@dataclass(frozen=True)
class _Prompt:
    """Prompt of a task: its columns, and its label → which choice is right."""

    columns: tuple[str, ...]
    prompt: str
    choices: tuple[str, str]
    gold: Mapping[str, int]


_FOLLOWS = "{}\nQuestion: {} True or False?\nAnswer:"
_PAIR, _TRUTH = ("sentence1", "sentence2"), (" False", " True")
_ACCEPTABLE = "{}\nQuestion: Does this sentence make sense?\nAnswer:"
INFERENCE: Mapping[str, _Prompt] = {
    "wnli": _Prompt(_PAIR, _FOLLOWS, _TRUTH, {"0": 0, "1": 1}),
    # On the hub, 0 is entailment.
    "rte": _Prompt(_PAIR, _FOLLOWS, _TRUTH, {"entailment": 1, "not_entailment": 0, "0": 1, "1": 0}),
    "cola": _Prompt(("sentence",), _ACCEPTABLE, (" no", " yes"), {"0": 0, "1": 1, "unacceptable": 0, "acceptable": 1}),
}


def inference(path: Path) -> Ability:
    """RTE, WNLI or CoLA from a file: GLUE's TSV, CSV or JSON lines; or from the folder of GLUE's TSV files, or the hub.

    Which one it is, its name or its folder's says; `rte`, `wnli` or `cola` alone is the hub's. A TombolaError where the
    name says none of them, the file is missing or malformed, or a label is none of the task's.
    """
    if str(path) in INFERENCE and not path.exists():
        return _from_glue(str(path))
    words = [re.split(r"[^a-z]+", part.lower()) for part in (path.name, path.parent.name)]
    name = next((name for part in words for name in INFERENCE if name in part), None)
    if name is None:
        raise TombolaError(f"{path}: name the file or its folder after its task, one of {', '.join(INFERENCE)}")
    if path.is_dir():
        return _from_glue(name, path)
    task, header = INFERENCE[name], glue.GLUE[name].header
    found = []
    for line, row in records(path, header=header if path.suffix.lower() == ".tsv" else None, raw=True):
        texts = [text_of(row, column, path, line) for column in task.columns]
        label = str(field(row, "label", path, line)).strip()
        if label not in task.gold:
            raise TombolaError(f"{path}, line {line}: label {label!r} is none of {', '.join(task.gold)}")
        found.append(_example(task, texts, label, f"{path}, line {line}"))
    return Ability("inference", "Inference", "choice", tuple(found), str(path))


def _from_glue(name: str, data: Path | None = None) -> Ability:
    """The dev examples of RTE, WNLI or CoLA from the hub, or from a folder with GLUE's TSV files."""
    task = INFERENCE[name]
    try:
        split = glue.load(name, data).splits["dev"]
    except TombolaError as error:
        if data is not None:
            raise
        said = str(error).partition("; ")[0]
        raise TombolaError(f"{said}; give GLUE's own file, as inference={name.upper()}/dev.tsv") from error
    texts = zip(split.first, split.second, strict=True) if split.second else zip(split.first, strict=True)
    # GLUE's class ids, which are those of the hub.
    found = [
        _example(task, each, str(int(label)), f"{name}, example {number}")
        for number, (each, label) in enumerate(zip(texts, split.labels, strict=True), start=1)
    ]
    source = f"{glue.HUB} ({name})" if data is None else str(data)
    return Ability("inference", "Inference", "choice", tuple(found), source)


def _example(task: _Prompt, texts: Sequence[str], label: str, where: str) -> Example:
    free = tuple(task.prompt.format(*[text] * len(texts)) for text in FREE)
    return Example(task.choices, task.gold[label], task.prompt.format(*texts), free, group=label, where=where)
