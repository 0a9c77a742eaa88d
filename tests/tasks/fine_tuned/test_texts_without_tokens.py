"""Texts of which a tokenizer leaves nothing, and those that no T5 can classify: a start token, or one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import normalizers, processors
from transformers import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForSequenceClassification,
)

from builders.encoders import randomise, rows
from builders.families import T5_SIZES, T5_TOKENS
from builders.task_types import bert, choice_rows, question_rows, splitting_tokenizer, t5, tagged_rows, written_rows
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask

NOTHING = "\u200b"


def bare(bos: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer that adds nothing of itself, as GPT-2's, and drops a character."""
    made = splitting_tokenizer()
    core = made.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    core.normalizer = normalizers.Replace(NOTHING, "")
    made.bos_token = bos
    return made


TASKS: dict[str, tuple[Any, Callable[[int, int], list[dict[str, Any]]], dict[str, Any], Callable[[], Any]]] = {
    "choices": (
        MultipleChoiceTask,
        choice_rows,
        {"sent1": NOTHING, "sent2": NOTHING, "ending0": NOTHING},
        lambda: bert(BertForMultipleChoice),
    ),
    "questions": (
        QuestionAnsweringTask,
        question_rows,
        {"question": NOTHING, "context": NOTHING, "answers": {"text": [], "answer_start": []}},
        lambda: bert(BertForQuestionAnswering),
    ),
    "words": (
        TokenClassificationTask,
        tagged_rows,
        {"tokens": [NOTHING], "ner_tags": ["O"]},
        lambda: bert(num_labels=5),
    ),
    "targets": (TextToTextTask, written_rows, {"source": NOTHING}, t5),
}


@pytest.mark.parametrize("kind", list(TASKS))
def test_a_text_without_tokens_is_a_start_token_in_every_batch(kind: str) -> None:
    of, made, blank, model_of = TASKS[kind]
    dev, model = made(6, 1), model_of()
    dev[2] = {**dev[2], **blank}
    task = of.from_rows(made(12, 0), dev, bare("[CLS]"))
    alone, together = (score(model, task, options=EvaluationOptions(batch_size=size)).losses for size in (1, 6))
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
    with pytest.raises(TombolaError, match=r"the text of row 3 of the split dev \(your-data\) has no tokens"):
        score(model, of.from_rows(made(12, 0), dev, bare(None)))


def test_a_target_without_tokens_is_named() -> None:
    dev = written_rows(6, 1)
    dev[3]["target"] = NOTHING
    task = TextToTextTask.from_rows(written_rows(12, 0), dev, bare("[CLS]"))
    with pytest.raises(TombolaError, match="the target of row 4 of the split dev"):
        score(t5(), task)


def test_texts_that_the_classifier_of_a_t5_cannot_read_are_named() -> None:
    torch.manual_seed(0)
    options: Any = {**T5_SIZES, **T5_TOKENS, "eos_token_id": 3}
    model: Any = T5ForSequenceClassification(T5Config(**options)).eval()
    randomise(model, 0.2)
    train, dev = rows(12, 1), rows(6, 2)
    assert score(model, TextTask.from_rows(train, dev, splitting_tokenizer())).losses.shape == (6,)
    with pytest.raises(TombolaError, match="has 0 end tokens"):
        score(model, TextTask.from_rows(train, dev, bare("[CLS]")))
    dev[4]["text"] += " [SEP]"
    for size in (1, 6):
        task = TextTask.from_rows(train, dev, splitting_tokenizer())
        with pytest.raises(TombolaError, match=r"the text of row 5 .* has 2 end tokens \(id 3\)"):
            score(model, task, options=EvaluationOptions(batch_size=size))
    model.config.eos_token_id = None
    with pytest.raises(TombolaError, match="has eos_token_id None"):
        score(model, task)
