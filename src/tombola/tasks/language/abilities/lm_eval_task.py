"""Tasks of lm-evaluation-harness as abilities: its documents, prompts and answers, in the study's one evaluation.

An optional dependency: `pip install 'tombola[language]'`. The harness builds the requests of a task itself. What they
are judged by is then found out from the task, not from its name: it is asked for its verdict on made-up
log-probabilities, until it is known which choice it takes for right and what it divides by. A task whose verdicts are
not so to be had is refused. So accuracy, accuracy by length (acc_norm), exact continuations (LAMBADA) and bits per byte
(WikiText) are as `lm_eval` gives them on the same model in fp32, with two exceptions that are meant: NaN is no answer
here, and a tie counts in shares, where `lm_eval` takes the first.
"""

import contextlib
import functools
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tombola.foundations.errors import TombolaError, out_of_memory
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.item import Rule

_RULES: Mapping[str, Rule] = {"multiple_choice": "choice", "loglikelihood": "exact", "loglikelihood_rolling": "text"}
PREFERRED = ("acc_norm", "acc", "bits_per_byte")
"""Metrics, the first that a task has is its ability's: for HellaSwag, PIQA, ARC and OpenBookQA the one by length."""
_SEED = 1234
"""Seed of few-shot samples and of numpy and torch; `lm_eval`'s own."""
_DRAWS = 3
"""Made-up answers to a document by which the way of judging is told."""

Sizes = tuple[float, ...]


@dataclass(frozen=True)
class _Judged:
    """A document, and what log-probabilities may be divided by: the ways `agreeing` give the task's own verdicts."""

    contexts: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int
    ways: tuple[Sizes, ...]
    agreeing: frozenset[int]


def load(name: str, folder: Path | None = None) -> list[Ability]:
    """The abilities of a name: of a task or a group one, of a tag one for each of its tasks.

    Args:
        name: `TASK`, or `TASK:METRIC`.
        folder: YAML files of tasks of one's own.

    Raises:
        TombolaError: the harness is not installed, knows no such task, cannot load its data, or judges it by what is no
            accuracy over choices.
    """
    task, _, metric = name.partition(":")
    if not knows(task, folder):
        raise TombolaError(f"lm-evaluation-harness knows no task {task!r}; lm-eval ls tasks lists them")
    with _its_seeds():
        try:
            found = _manager(folder).load([task])
        except Exception as error:  # It raises whatever its tasks, the data sets library and the hub's client do.
            raise explained(error, f"load {task}") from error
        group = found.get("groups", {}).get(task)
        leaves = list(found["tasks"].values())
        if group is None:
            # Of a tag, each of its tasks by its own name.
            return [_ability([leaf], name.replace(task, leaf.task_name, 1), metric or None) for leaf in leaves]
        aggregated = group.aggregate_metric_list or ()
        there = {one.metric for one in aggregated}
        # The score of a group may be the mean of its tasks' scores, however many documents each has.
        equal = not all(one.weight_by_size for one in aggregated)
        return [_ability(leaves, name, metric or next((one for one in PREFERRED if one in there), None), equal=equal)]


def _ability(leaves: Sequence[Any], name: str, metric: str | None, *, equal: bool = False) -> Ability:
    parts = [_examples(leaf, metric, len(leaves) > 1) for leaf in leaves]
    rules, counts = {rule for rule, _ in parts}, {len(examples) for _, examples in parts}
    if len(rules) > 1 or (equal and len(counts) > 1):
        raise TombolaError(f"{name} mixes tasks that do not add up to one accuracy; name its tasks one by one")
    examples = tuple(example for _, examples in parts for example in examples)
    return Ability(name, name, rules.pop(), examples, "lm-evaluation-harness", harness=True)


def _examples(task: Any, metric: str | None, grouped: bool) -> tuple[Rule, list[Example]]:
    """The rule and the examples of a task, by its metric of that name or the first that is preferred."""
    name, metrics = task.task_name, list(task.aggregation())
    if task.OUTPUT_TYPE not in _RULES:
        raise TombolaError(f"{name} generates text, which no probability of a choice can judge; leave it out")
    rule = _RULES[task.OUTPUT_TYPE]
    metric = metric or next((one for one in PREFERRED if one in metrics), None)
    if metric is None or metric not in metrics:
        raise TombolaError(f"{name} has no {metric or 'accuracy'}; its metrics: {', '.join(metrics)}")
    no_accuracy = TombolaError(
        f"{metric} of {name} is no accuracy over choices, nor bits per byte; name another of its metrics, as "
        f"{name}:acc, of {', '.join(metrics)}"
    )
    mean = "bits_per_byte" if rule == "text" else "mean"
    if getattr(task.aggregation()[metric], "__name__", "") != mean:
        raise no_accuracy
    if task.config.num_fewshot is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=_SEED)
    try:
        # Its bar would run across ours.
        with contextlib.redirect_stderr(io.StringIO()):
            task.build_all_requests()
        documents = [list(requests) for _, requests in groupby(task.instances, key=lambda one: one.doc_id)]
        judged = [_judged(task, metric, rule, requests) for requests in documents]
    except Exception as error:  # Templates and functions of the task.
        raise explained(error, f"build {name}") from error
    known = [one for one in judged if one is not None]
    # One way of dividing for all documents, or the metric is another.
    ways = frozenset.intersection(*(one.agreeing for one in known)) if len(known) == len(judged) else frozenset()
    if not ways:
        raise no_accuracy
    way = min(ways)
    return rule, [
        Example(
            one.choices,
            one.gold,
            contexts=one.contexts,
            sizes=one.ways[way],
            group=name if grouped else "",
            where=f"{name}, document {number}",
        )
        for number, one in enumerate(known, start=1)
    ]


def _judged(task: Any, metric: str, rule: Rule, requests: Sequence[Any]) -> _Judged | None:
    """A document's choices and how they are judged; None where that is not by the probability of one right choice."""
    document = requests[0].doc
    if rule == "text":
        found = task.process_results(document, [-1.0])[metric]
        sized = isinstance(found, tuple) and len(found) == 2 and found[0] == -1.0
        text = requests[0].args[0]
        return _Judged((), (text,), 0, ((float(found[1]),),), frozenset({0})) if sized else None
    texts = list(task.doc_to_choice(document)) if rule == "choice" else [""]
    pairs = [request.args for request in requests[: len(texts)]]
    if any(len(pair) != 2 for pair in pairs):
        # Pictures, or sound.
        return None
    contexts, choices = (tuple(str(pair[side]) for pair in pairs) for side in (0, 1))

    def right(values: Sequence[float], greedy: Sequence[bool]) -> bool:
        # The harness may ask for more than the choices: their probabilities without context, for other metrics.
        more = [(-1.0, False)] * (len(requests) - len(values))
        verdict = task.process_results(document, [*zip(values, greedy, strict=True), *more])[metric]
        if isinstance(verdict, tuple | list):
            raise TypeError(f"{metric} is not a number for one document")
        return bool(verdict == 1)

    if rule == "exact":
        fits = right([-1.0], [True]) and not right([-1.0], [False])
        return _Judged(contexts, choices, 0, ((1.0,),), frozenset({0})) if fits else None
    count = len(texts)
    golds = [
        one
        for one in range(count)
        if right([0.0 if i == one else -1000.0 for i in range(count)], [i == one for i in range(count)])
    ]
    if len(golds) != 1 or not all(texts):
        return None
    (gold,) = golds
    lengths = tuple(float(len(text)) for text in texts)
    ways = ((1.0,) * count, lengths, tuple(float(len(text.encode())) for text in texts))
    draw, agreeing = random.Random(0), set(range(len(ways)))
    for _ in range(_DRAWS):
        values = [-draw.uniform(0.5, 1.5) * length for length in lengths]
        verdict = right(values, [False] * count)
        scaled = [[value / size for value, size in zip(values, way, strict=True)] for way in ways]
        agreeing = {n for n in agreeing if (max(scaled[n]) == scaled[n][gold]) is verdict}
    return _Judged(contexts, choices, gold, ways, frozenset(agreeing))


@contextlib.contextmanager
def _its_seeds() -> Iterator[None]:
    """Seed what tasks may draw as `lm_eval` does; everything as it was afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([]):
        try:
            random.seed(0)
            np.random.seed(_SEED)
            torch.manual_seed(_SEED)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@functools.cache
def _manager(folder: Path | None = None) -> Any:
    """The harness's TaskManager, of its own thousands of files, which takes seconds, or of those of a folder alone."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise TombolaError(
            f"tasks of lm-evaluation-harness need it ({error}); pip install 'tombola[language]', or name abilities "
            "that Tombola measures itself"
        ) from None
    if folder is not None and not folder.is_dir():
        raise TombolaError(f"{folder} is no folder; give the one with the YAML files of your tasks")
    try:
        return TaskManager() if folder is None else TaskManager(include_path=str(folder), include_defaults=False)
    except Exception as error:  # Of YAML files of any shape.
        raise explained(error, f"read the tasks in {folder or 'its package'}") from error


def knows(name: str, folder: Path | None = None) -> bool:
    """True if the harness has a task, group or tag of that name; a TombolaError if it, or the folder, is not there."""
    return name in _manager(folder).all_tasks


def explained(error: Exception, doing: str) -> TombolaError:
    """Error of one line for whatever the harness raised: what went wrong, and what to do."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    what = f"lm-evaluation-harness cannot {doing} ({said})"
    chain = list(_chain(error))
    if any(map(out_of_memory, chain)):
        return TombolaError(f"{what}; give a smaller batch size, or a limit")
    if any(isinstance(one, ImportError) for one in chain):
        return TombolaError(f"{what}; install what it asks for, or leave the task out")
    if any(_of_the_hub(one) for one in chain):
        return TombolaError(
            f"{what}; its data sets come from the hub: check that it can be reached, or name abilities that Tombola "
            "measures itself"
        )
    if any(isinstance(one, OSError) for one in chain):
        return TombolaError(f"{what}; check the files of the task")
    return TombolaError(f"{what}; mend the task, or leave it out")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _of_the_hub(error: BaseException) -> bool:
    # Its client and the data sets library have errors of their own, below those of Python.
    ours = type(error).__module__.split(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or ours in ("huggingface_hub", "httpx", "requests")
