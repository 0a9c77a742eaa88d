"""Task types by the names of transformers' pipelines: the columns that each is known by, and how it is opened."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tombola.tasks.data import choices, labelled_images, own_rows, questions, tagged_words, text_pairs

if TYPE_CHECKING:
    from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions, FineTunedTask
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
        make: its task, of the rows of `train` and `dev`.
    """

    known_by: tuple[frozenset[str], ...]
    make: "Callable[[Mapping[str, Any], TaskOptions, Own, FineTunedOptions], FineTunedTask[Any]]"


def _tokenizer(options: "TaskOptions") -> Any:
    from tombola.checkpoints.loading import tokenizer_of

    return tokenizer_of(options.model, trust_remote_code=options.trust_remote_code)


def _token_classification(
    rows: Mapping[str, Any], options: "TaskOptions", own: Own, made: "FineTunedOptions"
) -> "FineTunedTask[Any]":
    from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask

    splits, classes = tagged_words.read_rows(rows, own.text_column, own.label_column, name=options.task)
    return TokenClassificationTask(options.task, splits, classes, _tokenizer(options), made)


def _multiple_choice(
    rows: Mapping[str, Any], options: "TaskOptions", own: Own, made: "FineTunedOptions"
) -> "FineTunedTask[Any]":
    from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask

    splits = choices.read_rows(rows, own.text_column, own.label_column, name=options.task)
    return MultipleChoiceTask(options.task, splits, _tokenizer(options), made)


def _question_answering(
    rows: Mapping[str, Any], options: "TaskOptions", own: Own, made: "FineTunedOptions"
) -> "FineTunedTask[Any]":
    from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask

    splits = questions.read_rows(rows, own.text_column, own.label_column, name=options.task)
    return QuestionAnsweringTask(options.task, splits, _tokenizer(options), made)


def _image_classification(
    rows: Mapping[str, Any], options: "TaskOptions", own: Own, made: "FineTunedOptions"
) -> "FineTunedTask[Any]":
    from tombola.tasks.fine_tuned.image_classification import ImageClassificationTask, image_processor_of

    splits, classes = labelled_images.read_rows(rows, own.text_column, own.label_column, name=options.task)
    processor = image_processor_of(options.model, trust_remote_code=options.trust_remote_code)
    return ImageClassificationTask(options.task, splits, classes, processor, made)


def _text_to_text(
    rows: Mapping[str, Any], options: "TaskOptions", own: Own, made: "FineTunedOptions"
) -> "FineTunedTask[Any]":
    from tombola.tasks.fine_tuned.text_to_text import TextToTextTask

    splits = text_pairs.read_rows(rows, own.text_column, own.label_column, name=options.task)
    return TextToTextTask(options.task, splits, _tokenizer(options), made)


def _sets(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset((one, other)) for one in first for other in second)


TASK_TYPES: Mapping[str, TaskType] = MappingProxyType(
    {
        "token-classification": TaskType(
            _sets(tagged_words.WORDS, ("ner_tags", "pos_tags", "chunk_tags", "tags")), _token_classification
        ),
        "multiple-choice": TaskType(
            (frozenset(("ending0", "ending1")), *_sets(choices.LISTS, ("question", "ctx"))), _multiple_choice
        ),
        "question-answering": TaskType((frozenset(questions.COLUMNS),), _question_answering),
        "image-classification": TaskType(
            _sets(("image", "img"), ("label", "labels", "fine_label")), _image_classification
        ),
        # Many data have texts that could be targets.
        "text2text-generation": TaskType((), _text_to_text),
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
    for name, kind in TASK_TYPES.items():
        if found := next((known for known in kind.known_by if known <= columns), None):
            warnings.warn(
                f"{options.task} is taken for {name}, as it has the columns {', '.join(sorted(found))}; if it is "
                "not, say what it is with --task-type",
                stacklevel=3,
            )
            return name
    return TEXT


def rows_of(options: "TaskOptions", own: Own) -> dict[str, Any]:
    """Rows of `train` and `dev` of the user's own data."""
    return own_rows.read(
        options.task,
        validation_file=None if own.validation_file is None else Path(own.validation_file).expanduser(),
        validation_split=own.validation_split,
        dataset_config=own.dataset_config,
    )
