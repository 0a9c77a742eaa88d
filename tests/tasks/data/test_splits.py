"""Rows that judge, drawn from those of training: one rule for every task type."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from builders.encoders import rows
from builders.task_types import (
    choice_rows,
    image_processor,
    image_rows,
    question_rows,
    splitting_tokenizer,
    tagged_rows,
    written_rows,
)
from tombola.foundations.errors import TombolaError
from tombola.tasks.data.columns import Column
from tombola.tasks.data.splits import with_dev
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedTask
from tombola.tasks.fine_tuned.image_classification import ImageClassificationTask
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask

Rows = list[dict[str, Any]]
MAKERS: Mapping[type[FineTunedTask[Any]], Callable[[int, int], Rows]] = {
    ImageClassificationTask: image_rows,
    MultipleChoiceTask: choice_rows,
    QuestionAnsweringTask: lambda count, seed: question_rows(count, seed, answerless=True),
    TextToTextTask: written_rows,
    TokenClassificationTask: tagged_rows,
}


@pytest.mark.parametrize("task", MAKERS)
def test_twins_stay_together_and_labels_keep_their_shares(task: type[FineTunedTask[Any]]) -> None:
    made = MAKERS[task](100, 1)
    splits, _ = task.reader({"train": [row for row in made for _ in range(2)]}, Column(), Column(), name="mine")
    with pytest.warns(UserWarning, match=r"mine has training rows only: \d+ of its 200 rows, drawn with seed 0, judge"):
        found = with_dev(splits, None, "mine")
    everything, dev = splits["train"], found["dev"]
    assert len(found["train"]) + len(dev) == 200
    assert not {*found["train"].texts()} & {*dev.texts()}
    shares = Counter(everything.strata())
    for label, count in Counter(dev.strata()).items():
        # Of each label a fifth, but for what a text that is there several times takes with it.
        assert 0.2 * shares[label] - 20 < count <= 0.2 * shares[label]
    with pytest.warns(UserWarning, match="of the 100 dev rows of mine have the text of a training row"):
        with_dev({"train": everything, "dev": everything.select(np.arange(100))}, None, "mine")
    with pytest.raises(TombolaError, match=r"1 rows are too few to split a share of 0.2 off"):
        with_dev({"train": everything.select(np.arange(1))}, None, "mine")


COLUMNS = {
    ImageClassificationTask: ("image_column", "label_column"),
    TextTask: ("text_column", "label_column"),
    MultipleChoiceTask: ("text_column", "label_column"),
    QuestionAnsweringTask: ("text_column", "label_column"),
    TextToTextTask: ("text_column", "label_column"),
    TokenClassificationTask: ("text_column", "label_column"),
}
"""Parameters of `from_rows`."""
OTHERS = {
    ImageClassificationTask: ("img", "fine_label"),
    TextTask: ("Review", "Stars"),
    MultipleChoiceTask: ("question", "answerKey"),
    QuestionAnsweringTask: ("Question", "Answers"),
    TextToTextTask: ("document", "summary"),
    TokenClassificationTask: ("words", "pos_tags"),
}
"""Other usual names of the columns."""
OWN = {
    ImageClassificationTask: ("image", "label"),
    TextTask: ("text", "label"),
    MultipleChoiceTask: ("sent1", "label"),
    QuestionAnsweringTask: ("question", "answers"),
    TextToTextTask: ("source", "target"),
    TokenClassificationTask: ("tokens", "ner_tags"),
}


@pytest.mark.parametrize("task", OTHERS)
def test_a_frame_is_read_by_the_usual_columns_and_errors_name_the_parameter(task: Any) -> None:
    make = MAKERS.get(task, rows)
    prepared: PreTrainedTokenizerFast = image_processor() if task is ImageClassificationTask else splitting_tokenizer()
    own = pd.DataFrame(make(40, 1)), pd.DataFrame(make(20, 2))

    def renamed(*names: str) -> list[pd.DataFrame]:
        return [frame.rename(columns=dict(zip(OWN[task], names, strict=True))) for frame in own]

    expected = task.from_rows(*own, prepared).references("dev")
    assert np.array_equal(task.from_rows(*renamed(*OTHERS[task]), prepared).references("dev"), expected)
    unknown = renamed("one", "two")
    given = dict(zip(COLUMNS[task], ("one", "two"), strict=True))
    assert np.array_equal(task.from_rows(*unknown, prepared, **given).references("dev"), expected)
    for parameter in given:
        rest = {name: column for name, column in given.items() if name != parameter}
        with pytest.raises(TombolaError, match=rf"your-data has no column .*; name one of: .*one.* \({parameter}=\)"):
            task.from_rows(*unknown, prepared, **rest)
