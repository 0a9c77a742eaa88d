"""The verdicts of a study: does a retrained ticket do what the full model does?"""

from dataclasses import dataclass
from pathlib import Path

from tombola.report import figures
from tombola.report.fields import Fields
from tombola.store import read_json

_RULES = {
    "seeds": "within one standard deviation of the full model over seeds",
    "bootstrap": "95 % paired bootstrap over the same examples",
}


@dataclass(frozen=True)
class Verdict:
    """One entry of `verdicts.json`."""

    pruning: str
    ticket: str
    matches: bool
    learned: bool
    sentence: str
    mean: float
    std: float | None
    full_mean: float
    full_std: float | None
    difference: float
    low: float | None
    high: float | None
    n_seeds: int
    n_examples: int
    rule: str

    @property
    def evidence(self) -> str:
        """The numbers and the rule behind the verdict, in one line."""
        parts = [
            f"{_with_std(self.mean, self.std)} against {_with_std(self.full_mean, self.full_std)}",
            f"difference {_signed(self.difference)}{self._interval()}",
            f"{figures.plural(self.n_seeds, 'seed')}, {figures.count(self.n_examples)} examples",
            _RULES.get(self.rule, self.rule),
        ]
        return " · ".join(parts)

    def _interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f" (95 % interval {_signed(self.low)} to {_signed(self.high)})"


def read_verdicts(folder: Path) -> tuple[Verdict, ...]:
    """The verdicts of a study's folder; none while it runs."""
    path = folder / "verdicts.json"
    if not path.is_file():
        return ()
    return tuple(
        Verdict(
            pruning=fields.text("pruning"),
            ticket=fields.text("ticket"),
            matches=fields.flag("matches"),
            learned=fields.flag("learned"),
            sentence=fields.text("sentence"),
            mean=fields.number("mean"),
            std=fields.maybe_number("std") if fields.count("n_seeds") > 1 else None,
            full_mean=fields.number("full_mean"),
            full_std=fields.maybe_number("full_std") if fields.count("n_seeds") > 1 else None,
            difference=fields.number("difference"),
            low=fields.maybe_number("low"),
            high=fields.maybe_number("high"),
            n_seeds=fields.count("n_seeds"),
            n_examples=fields.count("n_examples"),
            rule=fields.text("rule"),
        )
        for fields in Fields(read_json(path), str(path)).each("verdicts")
    )


def _with_std(mean: float, std: float | None) -> str:
    return figures.score(mean) if std is None else f"{figures.score(mean)} ± {figures.score(std)}"


def _signed(value: float) -> str:
    text = figures.score(value)
    return f"+{text}" if round(value, 3) > 0 else text
