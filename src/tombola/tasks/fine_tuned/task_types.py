"""Task types by the names of transformers' pipelines: the columns that each is known by, and how it is opened."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tombola.tasks.data import choices, labelled_images, own_data, own_rows, questions, tagged_words, text_pairs

if TYPE_CHECKING:
    from tombola.tasks.regime import TaskOptions

Own = Any
"""Settings of the regime, whose module asks this one."""
TEXT = "text-classification"
"""Task type of labelled texts, and of what is not known by its columns."""


@dataclass(frozen=True)
class TaskType:
    """Task type.

    Attributes:
        known_by: columns, a set of which says that rows are of it; none for one that must be named.
        reader: reads its splits from rows, see `FineTunedTask`.
        home: module and class of its task, which imports PyTorch.
        without_text: columns that say it where there is none of a text, which they may be about.
    """

    known_by: tuple[frozenset[str], ...]
    reader: Callable[..., tuple[Mapping[str, Any], tuple[str, ...] | None]]
    home: str
    without_text: tuple[frozenset[str], ...] = ()

    def task_class(self) -> Any:
        """Class of its task."""
        module, name = self.home.split(".")
        return getattr(importlib.import_module(f"tombola.tasks.fine_tuned.{module}"), name)


def _sets(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset((one, other)) for one in first for other in second)


TASK_TYPES: Mapping[str, TaskType] = MappingProxyType(
    {
        "token-classification": TaskType(
            _sets(tagged_words.WORDS, ("ner_tags", "pos_tags", "chunk_tags", "tags")),
            tagged_words.read_rows,
            "token_classification.TokenClassificationTask",
            # As inputs for a trainer have them.
            _sets(tagged_words.WORDS, ("labels",)),
        ),
        "multiple-choice": TaskType(
            (frozenset(("ending0", "ending1")), *_sets(choices.LISTS, ("question", "ctx"))),
            choices.read_rows,
            "multiple_choice.MultipleChoiceTask",
        ),
        "question-answering": TaskType(
            (frozenset(questions.COLUMNS),), questions.read_rows, "question_answering.QuestionAnsweringTask"
        ),
        "image-classification": TaskType(
            _sets(("image", "img"), ("label", "labels", "fine_label")),
            labelled_images.read_rows,
            "image_classification.ImageClassificationTask",
        ),
        # Many data have texts that could be targets.
        "text2text-generation": TaskType((), text_pairs.read_rows, "text_to_text.TextToTextTask"),
    }
)
"""Task types beside that of labelled texts, by name."""


def task_type_of(options: "TaskOptions", own: Own) -> str:
    """Task type of the user's own data: as it is named, or as its columns say beyond doubt, with a warning then."""
    if own.task_type != "auto":
        return str(own.task_type)
    if own.regression or own.text_pair_column is not None:
        return TEXT
    columns = {*own_rows.columns_of(options.task, own.dataset_config)}
    single = not columns.isdisjoint(own_data.TEXTS)
    for name, kind in TASK_TYPES.items():
        known_by = kind.known_by if single else (*kind.known_by, *kind.without_text)
        if found := next((known for known in known_by if known <= columns), None):
            warnings.warn(
                f"{options.task} is taken for {name}, as it has the columns {', '.join(sorted(found))}; if it is "
                "not, say what it is with --task-type",
                stacklevel=3,
            )
            return name
    return TEXT


def rows_of(options: "TaskOptions", own: Own) -> dict[str, Any]:
    """Rows of `train`, and of `dev` where there are any, of the user's own data."""
    return own_rows.read(
        options.task,
        validation_file=None if own.validation_file is None else Path(own.validation_file).expanduser(),
        validation_split=own.validation_split,
        dataset_config=own.dataset_config,
    )
