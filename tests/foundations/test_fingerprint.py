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


CALLS = {
    "by a module": "import helping\ndef ranking(x): return helping.double(x)\n",
    "by a module of a package": "import helpers.sizes\ndef ranking(x): return helpers.sizes.double(x)\n",
    "by a name": "from helping import double as twice\ndef ranking(x): return twice(x)\n",
    "by a constant": "import helping\ndef ranking(x): return x * helping.FACTOR\n",
    "within": "def ranking(x):\n    from helping import double\n    return double(x)\n",
    "of a package, within": "def ranking(x):\n    from helpers import sizes\n    return sizes.double(x)\n",
    "by a class": "from helping import Times\nclass Ranking(Times): ...\nranking = Ranking()\n",
    "from there on": "from helping import through\ndef ranking(x): return through(x)\n",
}
HELP = """import further
FACTOR = {0}
def double(x): return x * {0}
def through(x): return further.double(x)
class Times:
    def __call__(self, x): return x * {0}
"""


@pytest.mark.parametrize("call", CALLS)
def test_a_helper_in_another_module_counts(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(home: str, factor: int) -> str:
        place = tmp_path / home
        for file in ("helping.py", "further.py", "helpers/__init__.py", "helpers/sizes.py"):
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            text = HELP if file == "helping.py" else HELP.partition("\n")[2].replace("further.", "")
            (place / file).write_text(text.format(factor))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(place)
            try:
                ranking = run(CALLS[call])
                first = code_fingerprint(ranking)
                ranking(1.0)
                # Whether the helper has been imported by now makes no difference.
                assert code_fingerprint(ranking) == first
            finally:
                for name in ("helping", "further", "helpers", "helpers.sizes"):
                    sys.modules.pop(name, None)
        return first

    assert made("one", 2) == made("same", 2) != made("other", 3)


def test_what_is_installed_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[str]()
    for factor in (2, 3):
        place = tmp_path / str(factor) / "site-packages"
        place.mkdir(parents=True)
        (place / "installed_helping.py").write_text(f"def double(x): return x * {factor}\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(place)
            ranking = run(CALLS["by a name"].replace("helping", "installed_helping"))
        assert ranking(1.0) == factor
        made.append(code_fingerprint(ranking))
        del sys.modules["installed_helping"]
    assert made[0] == made[1]
