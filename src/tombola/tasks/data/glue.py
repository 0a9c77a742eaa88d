"""GLUE's nine tasks as data (Wang et al. 2018), from the hub or from the benchmark's own TSV files, without quoting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.errors import TombolaError, check_choice, one_line
from tombola.tasks.data.corpus import Corpus, Table, assemble, row_in, tabulate
from tombola.tasks.data.files import read_table
from tombola.tasks.data.own_data import hub_splits

HUB = "nyu-mll/glue"
_ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True, kw_only=True)
class GlueTask:
    """Task of GLUE.

    Attributes:
        name: on the command line; also the configuration on the hub.
        title: the name in GLUE; without case and hyphens also that of its folder.
        classes: the names of the classes on the hub, by id; empty for regression.
        values: the labels as the TSV files write them, by class id.
        hub_columns: the text columns on the hub.
        columns: the text columns and the label column of the TSV files; by default as on the hub, and `label`.
        metrics: the primary one first.
        header: the columns of TSV files that have no header line.
        files: TSV file of each split.
        other_files: the same under older names, tried when `files` are not there.
        hub_splits: split on the hub of each split.
        skip_malformed: pass over rows with a wrong number of columns.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    values: tuple[str, ...] = ("0", "1")
    hub_columns: tuple[str, str | None] = ("sentence1", "sentence2")
    columns: tuple[str, str | None, str] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    header: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train.tsv", "dev": "dev.tsv"})
    other_files: Mapping[str, str] = field(default_factory=dict)
    hub_splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "dev": "validation"})
    skip_malformed: bool = False


_TASKS = (
    GlueTask(
        name="cola",
        title="CoLA",
        classes=("unacceptable", "acceptable"),
        hub_columns=("sentence", None),
        metrics=("matthews_correlation",),
        header=("source", "label", "mark", "sentence"),
    ),
    GlueTask(name="sst2", title="SST-2", classes=("negative", "positive"), hub_columns=("sentence", None)),
    GlueTask(
        name="mrpc",
        title="MRPC",
        classes=("not_equivalent", "equivalent"),
        columns=("#1 String", "#2 String", "Quality"),
        metrics=("accuracy", "f1"),
        # Microsoft's own split, which has no dev: its labelled test split judges (1,725 rows).
        other_files={"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"},
    ),
    GlueTask(
        name="stsb",
        title="STS-B",
        classes=(),
        columns=("sentence1", "sentence2", "score"),
        metrics=("pearson", "spearman"),
    ),
    GlueTask(
        name="qqp",
        title="QQP",
        classes=("not_duplicate", "duplicate"),
        hub_columns=("question1", "question2"),
        columns=("question1", "question2", "is_duplicate"),
        metrics=("accuracy", "f1"),
        # A few of 364,000 questions have line breaks inside (nyu-mll/GLUE-baselines issue 5).
        skip_malformed=True,
    ),
    GlueTask(
        name="mnli",
        title="MNLI",
        classes=("entailment", "neutral", "contradiction"),
        values=("entailment", "neutral", "contradiction"),
        hub_columns=("premise", "hypothesis"),
        columns=("sentence1", "sentence2", "gold_label"),
        files={"train": "train.tsv", "dev": "dev_matched.tsv", "dev_mismatched": "dev_mismatched.tsv"},
        hub_splits={"train": "train", "dev": "validation_matched", "dev_mismatched": "validation_mismatched"},
    ),
    GlueTask(name="qnli", title="QNLI", classes=_ENTAILMENT, values=_ENTAILMENT, hub_columns=("question", "sentence")),
    GlueTask(name="rte", title="RTE", classes=_ENTAILMENT, values=_ENTAILMENT),
    GlueTask(name="wnli", title="WNLI", classes=_ENTAILMENT[::-1]),
)
GLUE: Mapping[str, GlueTask] = MappingProxyType({task.name: task for task in _TASKS})
"""Every task by its name on the command line."""


def load(name: str, data: Path | None = None) -> Corpus:
    """A task's corpus: splits `train` and `dev`, for MNLI (dev = matched) also `dev_mismatched`.

    Args:
        name: a key of `GLUE`.
        data: the folder with the task's TSV files, or its parent; None loads from the hub.

    Raises:
        TombolaError: no such task; the files are missing or malformed; the hub cannot be reached.
    """
    check_choice("GLUE task", name, GLUE)
    task = GLUE[name]
    classes, regression = task.classes or None, not task.classes
    if data is None:
        return assemble(task.title, _hub_tables(task), regression=regression, classes=classes, blank_texts=True)
    columns = task.columns or (*task.hub_columns, "label")
    tables = {
        split: read_table(path, columns, header=task.header, skip_malformed=task.skip_malformed, raw=True)
        for split, path in _locate(task, data).items()
    }
    return assemble(task.title, tables, regression=regression, values=task.values, classes=classes, blank_texts=True)


def _locate(task: GlueTask, data: Path) -> dict[str, Path]:
    """The task's files in `data` itself, or in the folder in it that is named after the task."""
    if not data.is_dir():
        raise TombolaError(f"{data} is no folder; give the folder that holds {task.title}'s TSV files")
    named = [child for child in sorted(data.iterdir()) if re.sub(r"[^a-z0-9]", "", child.name.lower()) == task.name]
    for folder in (*named, data):
        for files in (task.files, task.other_files):
            if files and all((folder / file).is_file() for file in files.values()):
                return {split: folder / file for split, file in files.items()}
    names = ", ".join(task.files.values())
    raise TombolaError(f"{data} holds no {names}, neither directly nor in {task.title}/; give the folder that does")


def _hub_tables(task: GlueTask) -> dict[str, Table]:
    instead = "give GLUE's original TSV files with --data DIR, or take --task rotten-tomatoes, which needs no hub"
    splits = hub_splits(HUB, task.name, instead)
    columns, names = (*task.hub_columns, "label"), task.classes or None
    with one_line(f"{HUB} ({task.name}) is not as expected", instead):
        return {
            split: tabulate(splits[there], row_in(f"{HUB} ({task.name}), {there}"), columns, names)
            for split, there in task.hub_splits.items()
        }
