"""The user's own data of any task type, read once: a look at the model's outputs needs them before PyTorch is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tombola.foundations.fingerprint import stamp
from tombola.tasks.data import own_data
from tombola.tasks.data.columns import Column
from tombola.tasks.data.splits import with_dev
from tombola.tasks.fine_tuned.task_types import TASK_TYPES, TEXT, rows_of, task_type_of

if TYPE_CHECKING:
    from tombola.tasks.regime import TaskOptions

Own = Any
"""Settings of the regime, whose module asks this one."""


class OwnData(NamedTuple):
    """The user's own data as a task is made of them.

    Attributes:
        task_type: name of it.
        data: a `Corpus` of labelled texts; else splits by name.
        classes: names of what a model's outputs stand for, by id; None where they stand for nothing of the data.
        outputs: number of a model's outputs; None where the data do not say it.
    """

    task_type: str
    data: Any
    classes: tuple[str, ...] | None
    outputs: int | None


_kept: list[tuple[object, OwnData]] = []


def read_once(options: "TaskOptions", own: Own, *, keep: bool = False) -> OwnData:
    """Data that settings name; with `keep`, the next call with the same settings and files gets them too.

    Raises:
        TombolaError: something is missing or malformed.
    """
    names = ("task_type", "validation_file", "validation_split", "dataset_config", "regression")
    columns = ("text_column", "text_pair_column", "label_column")
    settings = [getattr(own, name) for name in (*names, *columns)]
    # Before the files are read: what is written meanwhile is noticed.
    files = [one for one in (options.task, own.validation_file) if one]
    key = [files, settings, [stamp(one) for one in files]]
    found = next((data for known, data in _kept if known == key), None) or _read(options, own)
    _kept[:] = [(key, found)] if keep else []
    return found


def _read(options: "TaskOptions", own: Own) -> OwnData:
    kind = task_type_of(options, own)
    if kind == TEXT:
        corpus = own_data.read(
            options.task,
            validation_file=None if own.validation_file is None else Path(own.validation_file).expanduser(),
            validation_split=own.validation_split,
            dataset_config=own.dataset_config,
            text_column=own.text_column,
            text_pair_column=own.text_pair_column,
            label_column=own.label_column,
            regression=own.regression,
        )
        return OwnData(kind, corpus, corpus.classes, len(corpus.classes or (None,)))
    columns = Column(own.text_column, "--text-column"), Column(own.label_column, "--label-column")
    splits: Mapping[str, Any]
    splits, classes = TASK_TYPES[kind].reader(rows_of(options, own), *columns, name=options.task)
    splits = with_dev(splits, own.validation_split, options.task)
    return OwnData(kind, splits, classes, None if classes is None else len(classes))
