"""Reasons in one line; values that are judged alike wherever they come from."""

import contextlib
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from tombola.foundations.errors import TombolaError, check_number, reason
from tombola.pruning.evaluation import EvaluationOptions
from tombola.pruning.search.options import SearchOptions
from tombola.study.config import StudyConfig
from tombola.training.recipe import Rewinding


def test_a_long_reason_ends_with_a_sentence_or_a_word() -> None:
    said = "It is nowhere to be found. " + "See https://example.org/models/" + "x" * 200
    assert reason(OSError(said)) == "It is nowhere to be found."
    assert reason(OSError("word " * 100)).endswith("word ...")
    assert reason(OSError("short\n one")) == "short one"
    assert reason(OSError()) == "OSError"


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), 0, 1, np.int64(1), True, "0.5", None, float("nan"), 1.5, -1])
def test_numbers_within_their_bounds(value: object) -> None:
    good = value in (0, 0.5, 1) and value is not True
    with contextlib.nullcontext() if good else pytest.raises(TombolaError, match="must be a number from 0 to 1, not "):
        check_number("a share", value, 0, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EvaluationOptions(batch_size=0),
        lambda: EvaluationOptions(batch_size=cast(int, "8")),
        lambda: Rewinding("step"),
        lambda: StudyConfig(search=cast(SearchOptions, "x")),
    ],
)
def test_values_of_python_are_judged_as_those_of_the_command_line(make: Callable[[], object]) -> None:
    with pytest.raises(TombolaError, match=r"must be (a whole number from 1|made by SearchOptions), not "):
        make()
