"""Fingerprints of code: another function under the same name is another, the same one made again is the same."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from builders.toy_rankings import output_norm
from tombola.foundations.fingerprint import code_fingerprint


def times(factor: float) -> Callable[[float], float]:
    def ranking(value: float) -> float:
        return value * factor

    return ranking


def by_helper(value: float) -> float:
    return times(3.0)(value)


class Held:
    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def __call__(self, value: float) -> float:
        return float(self.weight[0]) * value


def run(source: str) -> Callable[[float], float]:
    """The function `ranking` of a module of its own."""
    module: dict[str, object] = {"__name__": "somebodys"}
    exec(compile(source, "somebodys.py", "exec"), module)
    found = module["ranking"]
    assert callable(found)
    return found


WHOLE = "LIMIT = {limit}\ndef helper(x): return x {sign} LIMIT\ndef ranking(x): return helper(x)\n"


def test_the_same_made_again_is_the_same() -> None:
    assert code_fingerprint(times(2.0)) == code_fingerprint(times(2.0))
    assert code_fingerprint(Held(torch.ones(2))) == code_fingerprint(Held(torch.ones(2)))
    same = [run(WHOLE.format(limit=1, sign="+")) for _ in range(2)]
    assert code_fingerprint(same[0]) == code_fingerprint(same[1])


@pytest.mark.slow
def test_it_is_the_same_in_another_process() -> None:
    call = "from builders.toy_rankings import {0}; from tombola.foundations.fingerprint import code_fingerprint as c; "
    code = call.format("output_norm") + "print(c(output_norm))"
    made = subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1], text=True)
    assert made.strip() == code_fingerprint(output_norm)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (times(2.0), times(3.0)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x + 1, lambda x: x - 1),
        (functools.partial(by_helper, 1.0), functools.partial(by_helper, 2.0)),
        (Held(torch.ones(2)), Held(torch.zeros(2))),
        (run(WHOLE.format(limit=1, sign="+")), run(WHOLE.format(limit=2, sign="+"))),
        (run(WHOLE.format(limit=1, sign="+")), run(WHOLE.format(limit=1, sign="-"))),
    ],
)
def test_another_is_another(one: object, other: object) -> None:
    assert code_fingerprint(one) != code_fingerprint(other)
