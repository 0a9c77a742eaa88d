"""GLUE's nine tasks as data, from the hub or from the benchmark's own TSV files.

The TSV files (Wang et al. 2018, gluebenchmark.com) are tab-separated without quoting. A malformed row is an
error that names file and line, except in QQP: its `train.tsv` has a few questions with line breaks inside,
whose fragments have a wrong number of columns (nyu-mll/GLUE-baselines issue 5). They are passed over; too few
to matter among 364,000.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import Corpus, Table, assemble, tabulate
from tombola.tasks.data.files import read_table

HUB = "nyu-mll/glue"

_ENTAILMENT = ("entailment", "not_entailment")
_BINARY = ("0", "1")


@dataclass(frozen=True)
class GlueTask:
    """Task of GLUE.

    Attributes:
        name: on the command line; also the configuration on the hub.
        title: the name in GLUE; without case and hyphens also that of its folder.
        metrics: the primary one first.
        hub_columns: the text columns on the hub.
        columns: the text columns and the label column of the TSV files.
        values: the labels as the TSV files write them, by class id; empty for regression.
        classes: the names of the classes on the hub, by id; empty for regression.
        header: the columns of TSV files that have no header line.
        files: TSV file of each split.
        other_files: the same under older names, tried when `files` are not there.
        hub_splits: split on the hub of each split.
        skip_malformed: rows with a wrong number of columns are known and passed over.
    """

    name: str
    title: str
    metrics: tuple[str, ...]
    hub_columns: tuple[str, str | None]
    columns: tuple[str, str | None, str]
    values: tuple[str, ...]
    classes: tuple[str, ...]
    header: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train.tsv", "dev": "dev.tsv"})
    other_files: Mapping[str, str] = field(default_factory=dict)
    hub_splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "dev": "validation"})
    skip_malformed: bool = False

    @property
    def regression(self) -> bool:
        """True if the labels are values instead of classes."""
        return not self.classes


GLUE: Mapping[str, GlueTask] = MappingProxyType(
    {
        task.name: task
        for task in (
            GlueTask(
                name="cola",
                title="CoLA",
                metrics=("matthews_correlation",),
                hub_columns=("sentence", None),
                columns=("sentence", None, "label"),
                values=_BINARY,
                classes=("unacceptable", "acceptable"),
                header=("source", "label", "mark", "sentence"),
            ),
            GlueTask(
                name="sst2",
                title="SST-2",
                metrics=("accuracy",),
                hub_columns=("sentence", None),
                columns=("sentence", None, "label"),
                values=_BINARY,
                classes=("negative", "positive"),
            ),
            GlueTask(
                name="mrpc",
                title="MRPC",
                metrics=("accuracy", "f1"),
                hub_columns=("sentence1", "sentence2"),
                columns=("#1 String", "#2 String", "Quality"),
                values=_BINARY,
                classes=("not_equivalent", "equivalent"),
                # Microsoft's own split, which has no dev: its labelled test split judges (1,725 rows).
                other_files={"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"},
            ),
            GlueTask(
                name="stsb",
                title="STS-B",
                metrics=("pearson", "spearman"),
                hub_columns=("sentence1", "sentence2"),
                columns=("sentence1", "sentence2", "score"),
                values=(),
                classes=(),
            ),
            GlueTask(
                name="qqp",
                title="QQP",
                metrics=("accuracy", "f1"),
                hub_columns=("question1", "question2"),
                columns=("question1", "question2", "is_duplicate"),
                values=_BINARY,
                classes=("not_duplicate", "duplicate"),
                skip_malformed=True,
            ),
            GlueTask(
                name="mnli",
                title="MNLI",
                metrics=("accuracy",),
                hub_columns=("premise", "hypothesis"),
                columns=("sentence1", "sentence2", "gold_label"),
                values=("entailment", "neutral", "contradiction"),
                classes=("entailment", "neutral", "contradiction"),
                files={
                    "train": "train.tsv",
                    "dev": "dev_matched.tsv",
                    "dev_mismatched": "dev_mismatched.tsv",
                },
                hub_splits={
                    "train": "train",
                    "dev": "validation_matched",
                    "dev_mismatched": "validation_mismatched",
                },
            ),
            GlueTask(
                name="qnli",
                title="QNLI",
                metrics=("accuracy",),
                hub_columns=("question", "sentence"),
                columns=("question", "sentence", "label"),
                values=_ENTAILMENT,
                classes=_ENTAILMENT,
            ),
            GlueTask(
                name="rte",
                title="RTE",
                metrics=("accuracy",),
                hub_columns=("sentence1", "sentence2"),
                columns=("sentence1", "sentence2", "label"),
                values=_ENTAILMENT,
                classes=_ENTAILMENT,
            ),
            GlueTask(
                name="wnli",
                title="WNLI",
                metrics=("accuracy",),
                hub_columns=("sentence1", "sentence2"),
                columns=("sentence1", "sentence2", "label"),
                values=_BINARY,
                classes=("not_entailment", "entailment"),
            ),
        )
    }
)
"""Every task by its name on the command line."""


def load(name: str, data: Path | None = None) -> Corpus:
    """A task's corpus: splits `train` and `dev`, for MNLI (dev = matched) also `dev_mismatched`.

    Args:
        name: a key of `GLUE`.
        data: the folder with the task's TSV files, or its parent; None loads from the hub.

    Raises:
        TombolaError: no such task; the files are missing or malformed; the hub cannot be reached.
    """
    if name not in GLUE:
        raise TombolaError(f"unknown GLUE task {name!r}; known: {', '.join(GLUE)}")
    task = GLUE[name]
    if data is None:
        return assemble(task.title, _hub_tables(task), regression=task.regression, classes=task.classes or None)
    tables = {
        split: read_table(path, *task.columns, header=task.header, skip_malformed=task.skip_malformed)
        for split, path in _locate(task, data).items()
    }
    return assemble(
        task.title,
        tables,
        regression=task.regression,
        values=task.values or None,
        classes=task.classes or None,
    )


def _locate(task: GlueTask, data: Path) -> dict[str, Path]:
    """The task's files in `data` itself, or in the folder in it that is named after the task."""
    if not data.is_dir():
        raise TombolaError(f"{data} is no folder; give the folder that holds {task.title}'s TSV files")
    named = [child for child in sorted(data.iterdir()) if re.sub(r"[^a-z0-9]", "", child.name.lower()) == task.name]
    for folder in (*named, data):
        for files in (task.files, task.other_files):
            if files and all((folder / file).is_file() for file in files.values()):
                return {split: folder / file for split, file in files.items()}
    raise TombolaError(
        f"{data} holds no {', '.join(task.files.values())}, neither directly nor in {task.title}/; "
        f"give the folder that does"
    )


def _hub_tables(task: GlueTask) -> dict[str, Table]:
    import datasets  # It takes a second, and TSV files do without.

    try:
        splits = datasets.load_dataset(HUB, task.name)
    except Exception as error:  # the hub's client, datasets and the network have no common error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TombolaError(
            f"cannot load {HUB} ({task.name}) from the hub: {reason}; give GLUE's original TSV files "
            f"with --data DIR, or take --task rotten-tomatoes, which needs no hub"
        ) from error
    first, second = task.hub_columns
    return {
        split: tabulate(
            splits[there],
            f"{HUB} ({task.name}), {there}",
            text_column=first,
            text_pair_column=second,
            label_column="label",
            names=task.classes or None,
        )
        for split, there in task.hub_splits.items()
    }
